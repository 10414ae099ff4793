"""Files that claim more than is there: every command refuses them at once, in little memory, with exit status 2."""

import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

SECONDS, GROWTH = 1.0, 32 << 20  # beyond what the same command takes for a file that is not there
EDGECL = Path(sys.executable).parent / "edgecl"


# A process of its own that starts the command: a child's peak counts what its parent held when it was made.
WATCH = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss << 10, done.stdout]))
"""


def measured(arguments, folder):
    """(exit status, CPU seconds, peak resident bytes, what was said) of a command and the processes it started."""
    command = [sys.executable, "-S", "-c", WATCH, EDGECL, *arguments]
    environment = {**os.environ, "EDGECL_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def long_file(path):
    with path.open("wb") as file:
        file.truncate(80 << 20)


def array_bomb(path):
    """1,000 labels of a megabyte each, in a file of a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, shape, dtype, size in (("y", (1000,), "<U250000", 2 * 10**8), ("x", (1000, 1, 4, 4), "|u1", 16_000)):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
                for _ in range(0, size, 1 << 22):
                    file.write(bytes(1 << 22))


def header_bomb(path):
    """An array of a terabyte in 200 bytes."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)})
        file.write(bytes(80))


def archive_of_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("x.npy", "w") as file:
            header_bomb_into(file)
        archive.writestr("y.npy", b"")


def header_bomb_into(file):
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 1, 8, 8)})


def picture_bomb(path):
    """Pictures of 60,000 x 60,000 pixels in a kilobyte."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for k in range(3):
            (path / name / f"{k}.png").write_bytes(png)


def backup_bomb(path):
    """A member of 7 GB in an archive of a few bytes."""
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("saved/checkpoint-a.safetensors")
        info.size = 7 << 30
        tar.fileobj.write(info.tobuf(tarfile.USTAR_FORMAT))


BOMBS = {
    "arrays in an archive": ("b.npz", array_bomb, ["plan", "--stream", "FILE"]),
    "an array's header": ("b.npz", archive_of_arrays, ["plan", "--stream", "FILE"]),
    "pictures": ("pictures", picture_bomb, ["plan", "--stream", "FILE"]),
    "nested JSON": ("c.json", lambda p: p.write_text("[" * 100_000), ["run", "--config", "FILE"]),
    "nested TOML": ("c.toml", lambda p: p.write_text("a = " + "[" * 3000 + "]" * 3000), ["run", "--config", "FILE"]),
    "a nested record": ("r.json", lambda p: p.write_text('{"a":' * 50_000), ["compare", "FILE", "FILE"]),
    "a nested profile": (
        "d.json", lambda p: p.write_text("[" * 100_000), ["plan", "--stream", "split-mnist5k", "--device", "FILE"],
    ),
    "a long configuration": ("c.json", long_file, ["run", "--config", "FILE"]),
    "a backup": ("b.tar", backup_bomb, ["restore", "FILE", "there"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(tmp_path, name):
    file, make, command = BOMBS[name]
    words = [str(tmp_path / file) if w == "FILE" else w for w in command]
    _, usual, start, _ = measured([w.replace(file, "absent-" + file) for w in words], tmp_path)
    make(tmp_path / file)
    status, seconds, peak, said = measured(words, tmp_path)
    assert status == 2 and "try:" in said and "Traceback" not in said, said
    assert seconds - usual < SECONDS and peak - start < GROWTH, (seconds, usual, peak, start)
    assert not (tmp_path / "there").exists() or not any((tmp_path / "there").iterdir())
