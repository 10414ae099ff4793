"""Bombs: what a file claims is looked at before it is believed."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from edgecl.storage.bounded import read_bounded, read_table

from edgecl.config import read_config_file
from edgecl.data.limits import check_archive, check_pixels
from edgecl.data.user import convert_npz
from edgecl.errors import BadInput
from edgecl.report.record import read_object


def header(shape, dtype):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


def bomb(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, head, size in members:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(head)
                for at in range(0, size, 1 << 22):
                    file.write(bytes(min(1 << 22, size - at)))
    return path


def test_an_archive_out_of_proportion_is_refused_before_anything_of_it_is_read(tmp_path):
    n = 200
    path = bomb(tmp_path / "b.npz", [("y", header((n,), "<U250000"), n * 10**6), ("x", header((n, 4), "|u1"), 4 * n)])
    code = (
        "import sys, resource, pathlib; import edgecl.data.user as u\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: u.convert_npz(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "except u.BadInput as e: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, e)\n"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code, path, tmp_path / "t"], capture_output=True, text=True)
    grown, _, words = out.stdout.partition(" ")
    assert int(grown) < 32 << 10 and "more than 200 times" in words and not (tmp_path / "t").exists(), out.stderr


@pytest.mark.parametrize(
    "claim, words",
    [(((40,), "<U2000"), "letters"), (((10**12,), "<i8"), "claims"), (((39,), "<i8"), "claims")],
)
def test_a_header_that_claims_what_is_not_there(tmp_path, claim, words):
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("y.npy", header(*claim) + bytes(320))
        archive.writestr("x.npy", header((40, 4), "|u1") + bytes(160))
    with pytest.raises(BadInput, match=words) as caught:
        convert_npz(tmp_path / "b.npz", tmp_path / "t")
    assert caught.value.remedy


def test_honest_data_is_not_refused(tmp_path):
    x = np.zeros((50, 1, 8, 8), np.uint8)
    x[7] = 1
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(50) % 3)
    convert_npz(tmp_path / "a.npz", tmp_path / "t")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        check_archive(archive, tmp_path / "a.npz")
    check_pixels(tmp_path / "p.png", 8000, 6000)
    with pytest.raises(BadInput, match="pixels"):
        check_pixels(tmp_path / "p.png", 50_000, 50_000)


@pytest.mark.parametrize("name, text", [("a.json", "[" * 100_000), ("a.toml", "a = " + "[" * 3000 + "]" * 3000)])
def test_nesting_is_refused_wherever_it_is_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match="nested too deeply") as caught:
        read_config_file(tmp_path / name)
    assert caught.value.remedy
    with pytest.raises(ValueError, match="nested"):
        read_table(tmp_path / name)
    if name.endswith("json"):
        with pytest.raises(BadInput, match="nested"):
            read_object(tmp_path / name, "record", "Give one.")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(ValueError, match="no regular file"):
            read_bounded(path, 100)
        with pytest.raises(BadInput):
            read_config_file(path)
    with pytest.raises(BadInput):
        read_config_file(tmp_path / "folder.json")
    (tmp_path / "long.json").write_text(json.dumps("x" * 200))
    with pytest.raises(ValueError, match="the limit is 100"):
        read_bounded(tmp_path / "long.json", 100)
