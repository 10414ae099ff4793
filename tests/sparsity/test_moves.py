"""What a policy may change, and that nothing is changed when it may not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.engine.model import Parameter
from edgecl.graph import ParameterSpec
from edgecl.sparsity import BrokenContract, Change, exact_count, newcomers_at_random, positions_of
from edgecl.sparsity.moves import stages, within

SIZE = 40


def ints(*values):
    return np.array(values, np.int32)


@pytest.fixture
def parameter():
    p = Parameter(ParameterSpec("w", (SIZE,), "weight", "zeros"), np.arange(1, 11, dtype=np.float32))
    p.pattern = np.arange(0, 20, 2, dtype=np.int32)
    return p


@pytest.mark.parametrize(
    "change, what",
    [
        (Change(0.25, dropped=ints(1), grown=ints(3)), "drops a weight that does not live"),
        (Change(0.25, kept=ints(1, 2)), "keeps a weight that does not live"),
        (Change(0.25, dropped=ints(2), grown=ints(0)), "grows a weight that lives"),
        (Change(0.25, dropped=ints(2, 4), grown=ints(3)), "leaves 9 weights where density 0.25 is 10"),
        (Change(0.275, grown=ints(3)), "denser than the 0.25"),
        (Change(0.25, dropped=ints(4, 2), grown=ints(3, 5)), "no sorted int32 list"),
        (Change(0.25, dropped=np.array([2]), grown=ints(3)), "no sorted int32 list"),
        (Change(0.25, dropped=ints(2), kept=ints(0)), "both what leaves and what stays"),
        (Change(0.25, grown=ints(SIZE)), "no sorted int32 list"),
    ],
)
def test_a_change_that_is_none_is_refused_by_the_policys_name(parameter, change, what):
    with pytest.raises(BrokenContract, match=f"Policy 'mine' .*{what}"):
        stages("mine", parameter, change, 0.25)


def test_leaving_and_coming_are_two_patterns_so_that_a_weight_in_both_starts_anew(parameter):
    patterns = stages("mine", parameter, Change(0.25, dropped=ints(0, 2), grown=ints(2, 5)), 0.25)
    for pattern in patterns:
        parameter.set_pattern(pattern)
    assert parameter.pattern.tolist() == [2, 4, 5, *range(6, 20, 2)]
    assert parameter.values.tolist() == [0, 3, 0, 4, 5, 6, 7, 8, 9, 10]


def test_all_weights_living_is_the_dense_tensor(parameter):
    rest = np.setdiff1d(np.arange(SIZE), parameter.pattern).astype(np.int32)
    for pattern in stages("mine", parameter, Change(1.0, grown=rest), 1.0):
        parameter.set_pattern(pattern)
    assert parameter.pattern is None and parameter.living == SIZE
    assert within(None, ints(3, 5)).tolist() == [3, 5]
    (pattern,) = stages("mine", parameter, Change(0.05, kept=ints(3, 5)), 1.0)
    assert pattern.tolist() == [3, 5]


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 200), seed=st.integers(0, 99), share=st.floats(0, 1), drop=st.floats(0, 1))
def test_any_exchange_survives_in_values_and_moments(size, seed, share, drop):
    rng = np.random.default_rng(seed)
    p = Parameter(ParameterSpec("w", (size,), "weight", "zeros"), rng.normal(size=size).astype(np.float32))
    p.moments["momentum"] = rng.normal(size=size).astype(np.float32)
    p.set_pattern(positions_of(rng.random(size) < share))
    before = p.dense().copy(), p.dense(p.moments["momentum"]).copy()
    leaves = rng.random(p.living) < drop
    dropped, kept = p.pattern[leaves], p.pattern[~leaves]
    grown = newcomers_at_random(kept, size, int(rng.integers(0, size + 1)), rng)
    living = kept.size + grown.size
    change = Change(living / size, dropped=dropped, grown=grown)
    assert exact_count(change.to, size) == living
    for pattern in stages("mine", p, change, 1.0):
        p.set_pattern(pattern)
    after = p.dense(), p.dense(p.moments["momentum"])
    for was, now in zip(before, after):
        assert np.array_equal(now[kept], was[kept])
        assert not np.any(now[np.setdiff1d(np.arange(size), kept)])


def test_many_newcomers_are_drawn_evenly_and_without_an_array_of_all_dead(monkeypatch):
    """numpy's own draw of more than a twentieth makes an int64 for every dead weight."""
    import tracemalloc

    size, rng = 2_000_000, np.random.default_rng(1)
    pattern = np.arange(0, size, 40, dtype=np.int32)
    tracemalloc.start()
    new = newcomers_at_random(pattern, size, 150_000, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert new.size == 150_000 and np.all(np.diff(new) > 0) and not np.isin(new, pattern).any()
    assert peak < 4 * size
    shares = np.bincount(new // (size // 20), minlength=20) / new.size
    assert np.all(np.abs(shares - 0.05) < 0.005)
