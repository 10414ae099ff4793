"""Saved states come back as they were; damage is noticed; nothing but plain data goes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecl import checkpoint
from edgecl.errors import EdgeclError

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**127), 2**127), st.floats(allow_nan=False), st.text(max_size=8),
    hnp.arrays(st.sampled_from(["f4", "f2", "i8", "u1", "?"]), hnp.array_shapes(min_dims=0, min_side=0)),
)  # fmt: skip
keys = st.text(max_size=6).filter(lambda k: not k.startswith("@") and "/" not in k)
trees = st.recursive(
    leaves, lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(keys, t, max_size=3)), max_leaves=8
)


def equal(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(keys.filter(bool), trees, max_size=4))
def test_what_is_saved_comes_back(tmp_path_factory, state):
    folder = tmp_path_factory.mktemp("c")
    checkpoint.save(folder, state)
    assert equal(checkpoint.load(folder), state)
    assert equal(checkpoint.from_bytes(checkpoint.to_bytes(state)), state)


def test_every_damaged_byte_is_noticed(tmp_path):
    checkpoint.save(tmp_path, {"a": np.arange(6, dtype=np.float32), "b": 3})
    path = next(tmp_path.glob("checkpoint-*"))
    good = path.read_bytes()
    for i in range(8, len(good)):
        bad = bytearray(good)
        bad[i] ^= 0x10
        path.write_bytes(bad)
        try:
            found = checkpoint.read(path)
        except EdgeclError:
            continue
        assert equal(found, {"a": np.arange(6, dtype=np.float32), "b": 3}), i  # a byte nobody reads
    path.write_bytes(good[: len(good) // 2])
    assert checkpoint.load(tmp_path) is None


def test_generations_alternate_and_the_newest_is_read(tmp_path):
    for i in range(5):
        checkpoint.save(tmp_path, {"i": i})
        assert checkpoint.load(tmp_path) == {"i": i}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("bad", [{"f": print}, {1: 2}, {"@array": "x"}, {"s": {1, 2}}])
def test_only_plain_data_is_saved(tmp_path, bad):
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path, bad)
