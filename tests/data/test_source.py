"""Samples come back by index, whatever the backing."""

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.data.source import ArraySource, FileSource
from edgecl.errors import BadInput, EdgeclError


def both(folder, n=20, shape=(2, 3, 4), dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 255, (n, *shape)).astype(dtype)
    labels = rng.integers(0, 5, n)
    x.tofile(folder / "x.raw")
    return (
        x,
        FileSource(folder / "x.raw", shape, dtype, labels, np.arange(n)),
        ArraySource(x, labels, np.arange(n)),
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return both(tmp_path_factory.mktemp("source"), dtype="float32")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 19), max_size=30),
    st.lists(st.integers(0, 19), min_size=1, max_size=12),
    st.data(),
)
def test_file_array_and_subset_serve_the_same_samples_in_any_order(pair, indices, outer, data):
    x, from_file, from_array = pair
    wanted = np.array(indices, np.int64)
    assert np.array_equal(from_file.read(wanted), x[wanted])
    assert np.array_equal(from_array.read(wanted), x[wanted])
    subset = from_file.subset(np.array(outer))
    inner = np.array(data.draw(st.lists(st.integers(0, len(outer) - 1), max_size=8)), np.int64)
    nested = subset.subset(inner)
    expected = np.array(outer, np.int64)[inner]
    assert np.array_equal(nested.read(np.arange(len(inner))), x[expected])
    assert np.array_equal(nested.labels, from_array.labels[expected])
    assert np.array_equal(nested.subjects, expected)


def test_read_fills_the_callers_buffer_and_leaves_the_rest(tmp_path):
    x, source, _ = both(tmp_path)
    buffer = np.full((5, 2, 3, 4), 7, np.uint8)
    got = source.read(np.array([19, 0]), buffer)
    assert np.shares_memory(got, buffer) and np.array_equal(got, x[[19, 0]])
    assert (buffer[2:] == 7).all()


@pytest.mark.parametrize(
    "buffer",
    [
        np.empty((1, 2, 3, 4), np.uint8),
        np.empty((2, 2, 3, 5), np.uint8),
        np.empty((2, 2, 3, 4), np.float32),
        np.empty((4, 2, 3, 4), np.uint8)[::2],
    ],
)
def test_an_unfit_buffer_is_refused(tmp_path, buffer):
    _, source, _ = both(tmp_path)
    with pytest.raises(BadInput, match="buffer"):
        source.read(np.array([1, 2]), buffer)


@pytest.mark.parametrize("indices", [[-1], [20], [0.5], [[1]]])
def test_indices_outside_the_source_are_refused(tmp_path, indices):
    for source in both(tmp_path)[1:]:
        with pytest.raises(BadInput):
            source.read(np.array(indices))


def test_subset_indices_are_checked(tmp_path):
    _, source, _ = both(tmp_path)
    with pytest.raises(BadInput):
        source.subset(np.array([20]))


def test_batches_visit_every_sample_once_in_order_with_a_ragged_end(tmp_path):
    x, source, _ = both(tmp_path)
    seen = [(b.copy(), y.copy()) for b, y in source.batches(7)]
    assert [len(b) for b, _ in seen] == [7, 7, 6]
    assert np.array_equal(np.concatenate([b for b, _ in seen]), x)
    assert np.array_equal(np.concatenate([y for _, y in seen]), source.labels)


def test_a_file_of_the_wrong_length_is_refused(tmp_path):
    (tmp_path / "x.raw").write_bytes(b"\0" * 23)
    with pytest.raises(BadInput, match="23 bytes"):
        FileSource(tmp_path / "x.raw", (1, 2, 2), "uint8", np.zeros(6))


def test_a_file_cut_while_in_use_is_an_error_not_stale_data(tmp_path):
    _, source, _ = both(tmp_path)
    os.truncate(tmp_path / "x.raw", 30)
    with pytest.raises(OSError, match="cut"):
        source.read(np.array([5]))


def test_reading_a_large_file_allocates_only_the_batch(tmp_path):
    n, shape = 4096, (1, 64, 64)
    with open(tmp_path / "x.raw", "wb") as f:
        f.truncate(n * 64 * 64)
    source = FileSource(tmp_path / "x.raw", shape, "uint8", np.zeros(n, np.int32))
    tracemalloc.start()
    for _, _ in source.batches(32):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000  # 32 samples are 131 kB, the file 16.8 MB


def test_close_releases_the_file(tmp_path):
    _, source, _ = both(tmp_path)
    source.subset(np.arange(3)).close()
    with pytest.raises(OSError):
        source.read(np.array([0]))


def test_a_process_without_a_home_is_told_where_it_cannot_write(tmp_path, monkeypatch):
    import pwd

    from edgecl.data.cache import cache_folder, new_folder

    def nobody(uid):
        raise KeyError(uid)

    for name in ("HOME", "EDGECL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgeclError, match="cache folder") as caught, new_folder(cache_folder() / "data" / "x"):
        pass
    assert "EDGECL_CACHE" in caught.value.remedy and not list(tmp_path.iterdir())
    monkeypatch.setenv("EDGECL_CACHE", "here")
    before = cache_folder()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert before == tmp_path / "here"
