"""Gate policies: quotas, order, class balance, determinism."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.errors import BadInput
from edgecl.methods import Replayed, entropy, gate, gates


@st.composite
def replayed(draw):
    rows = draw(st.integers(0, 24))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    logits = rng.normal(0, 2, (rows, 5)).astype(np.float32)
    return logits, rng.integers(0, 5, rows), rng.permutation(500)[:rows]


ratios = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0])


@settings(max_examples=60, deadline=None)
@given(data=replayed(), ratio=ratios, name=st.sampled_from(sorted(gates())), seed=st.integers(0, 99))
def test_a_gate_gives_its_quota_of_distinct_replayed_slots_and_repeats_itself(data, ratio, name, seed):
    logits, y, slots = data
    take = gate(name)(Replayed(logits, y, slots, np.random.default_rng(seed), ratio, epoch=1, epochs=4))
    again = gate(name)(Replayed(logits, y, slots, np.random.default_rng(seed), ratio, epoch=1, epochs=4))
    assert take.dtype == np.int64
    assert set(take) <= set(slots) and len(set(take)) == len(take)
    assert np.array_equal(take, again)
    expected = {"none": 0, "all": len(slots)}.get(name, math.ceil(ratio * len(slots) - 1e-9))
    assert len(take) == expected


@settings(max_examples=60, deadline=None)
@given(data=replayed(), ratio=ratios, seed=st.integers(0, 99))
def test_hybrid_balanced_p_is_balanced_over_classes_and_takes_the_surest_first(data, ratio, seed):
    logits, y, slots = data
    take = gate("hybrid_balanced_p")(Replayed(logits, y, slots, np.random.default_rng(seed), ratio))
    row = {s: i for i, s in enumerate(slots)}
    right, h = logits.argmax(1) == y, entropy(logits)
    for c in set(y.tolist()):
        members = np.flatnonzero(y == c)
        taken = [row[s] for s in take if y[row[s]] == c]
        exact = ratio * len(members)
        assert math.floor(exact + 1e-9) <= len(taken) <= math.ceil(exact - 1e-9)
        rank = sorted(members, key=lambda i: (not right[i], h[i] if right[i] else -h[i]))
        assert taken == rank[: len(taken)]


def test_the_extra_units_are_spread_by_chance_over_classes_with_a_rest():
    logits, y, slots = np.zeros((3, 3), np.float32), np.array([0, 1, 2]), np.array([7, 8, 9])
    seen = set()
    for seed in range(40):
        take = gate("hybrid_balanced_p")(Replayed(logits, y, slots, np.random.default_rng(seed)))
        assert len(take) == 2
        seen.add(tuple(take))
    assert seen == {(7, 8), (7, 9), (8, 9)}


def test_dynamic_is_random_in_the_first_half_and_selective_after():
    rng = np.random.default_rng(1)
    logits, y, slots = rng.normal(size=(12, 3)).astype(np.float32), rng.integers(0, 3, 12), np.arange(12)

    def run(name, epoch):
        return gate(name)(Replayed(logits, y, slots, np.random.default_rng(5), epoch=epoch, epochs=10)).tolist()

    assert run("dynamic", 5) == run("random", 5)
    assert run("dynamic", 6) == run("hybrid_balanced_p", 6)
    assert run("random", 0) != run("hybrid_balanced_p", 0)


def test_unknown_gate_and_bad_ratio_are_refused():
    with pytest.raises(BadInput, match="Did you mean 'random'"):
        gate("randm")
    with pytest.raises(BadInput, match="swap ratio"):
        gate("random")(Replayed(np.zeros((1, 2)), np.zeros(1), np.zeros(1), np.random.default_rng(0), ratio=1.5))
