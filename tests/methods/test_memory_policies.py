"""Memory policies: balance, herding, uncertainty, diversity; what a class holds, and which samples."""

from __future__ import annotations

import numpy as np
import pytest
from edgecl.storage import ArrayCandidates, EpisodicMemory, FieldSpec, StreamSchema
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.learning.candidates import Judged
from edgecl.methods.herding import Herding, herd
from edgecl.methods.memory_policies import MEMORY_POLICIES
from edgecl.methods.uncertainty import Uncertainty, view

SCHEMA = StreamSchema((2,), "float32", {})


def rows(n, cls=0, seed=0):
    return np.random.default_rng(seed + 100 * cls).normal(size=(n, 2)).astype(np.float32) + 5 * cls


def task(classes, n=20, seed=0):
    """Candidates of a task, with the samples themselves as features, and logits that are sure where they are large."""
    y = np.repeat(classes, n)
    x = np.concatenate([rows(n, c, seed) for c in classes])
    ids = np.arange(len(y)) + 1000 * classes[0]
    return Judged(ArrayCandidates(x, y, ids), lambda x: {"features": x, "logits": x})


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 30), st.lists(st.integers(0, 4), min_size=1, max_size=120), st.integers(0, 99))
def test_greedy_balance_never_lets_a_class_outgrow_the_others_and_keeps_no_sample_twice(slots, classes, seed):
    memory, policy, rng = EpisodicMemory(slots, SCHEMA), MEMORY_POLICIES.get("greedy")(), np.random.default_rng(seed)
    x = np.random.default_rng(seed).normal(size=(len(classes), 2)).astype(np.float32)
    for a in range(0, len(classes), 7):
        part = slice(a, a + 7)
        took = policy.offer(memory, rng, x[part], np.array(classes[part]))
        for row, slot in enumerate(took):
            assert slot < 0 or np.array_equal(memory.samples[slot], x[a + row])
    held = memory.class_histogram()
    if len(classes) >= slots and len(set(classes)) <= slots:
        assert max(held.values()) <= max(1, -(-slots // len(held))) + slots % len(held) + slots // len(held)
    before = memory.samples.copy()
    full = {c: n for c, n in held.items() if n < slots / len(held)}
    policy.offer(memory, rng, x, np.array(classes))  # once more the same samples
    kept = memory.samples[memory.classes >= 0]
    assert len(np.unique(kept, axis=0)) == len(kept), "none is there twice"
    if not full and set(held) == set(classes):  # a class that was pushed out comes in again
        assert np.array_equal(memory.samples, before)


def test_greedy_balance_of_three_classes_by_hand():
    memory, policy, rng = EpisodicMemory(6, SCHEMA), MEMORY_POLICIES.get("greedy")(), np.random.default_rng(0)
    policy.offer(memory, rng, rows(9, 0), np.zeros(9, int))
    assert memory.class_histogram() == {0: 6}
    policy.offer(memory, rng, rows(9, 1), np.ones(9, int))
    assert memory.class_histogram() == {0: 3, 1: 3}
    policy.offer(memory, rng, rows(9, 2), np.full(9, 2))
    assert memory.class_histogram() == {0: 2, 1: 2, 2: 2}


def test_herding_picks_the_samples_whose_running_mean_is_nearest_to_the_mean():
    f = np.array([[0.0], [1.0], [2.0], [10.0], [2.6]])  # mean 3.12
    assert herd(f, 3).tolist() == [4, 2, 1] or herd(f, 1).tolist() == [4]
    best = herd(f, 5)
    assert sorted(best.tolist()) == [0, 1, 2, 3, 4] and len(herd(f, 99)) == 5
    total = np.zeros(1)
    for k, row in enumerate(best[:3], 1):
        others = [abs(3.12 - float((total + f[j])[0]) / k) for j in range(5) if j not in best[: k - 1]]
        total = total + f[row]
        assert abs(3.12 - float(total[0]) / k) == pytest.approx(min(others))


def test_herding_fills_slots_by_rank_and_old_classes_keep_their_first_ones():
    memory, rng = EpisodicMemory(12, SCHEMA), np.random.default_rng(0)
    policy, first = Herding(), task([0, 1])
    policy.end_task(memory, rng, first)
    assert memory.class_histogram() == {0: 6, 1: 6}
    x = rows(20, 0)
    f = x / np.linalg.norm(x, axis=1, keepdims=True)
    order = herd(f.astype(np.float64), 6)
    own = np.flatnonzero(memory.classes == 0)
    assert np.array_equal(memory.samples[own], x[order])
    policy.end_task(memory, rng, task([2]))
    assert memory.class_histogram() == {0: 4, 1: 4, 2: 4}
    assert np.array_equal(memory.samples[np.flatnonzero(memory.classes == 0)], x[order[:4]])
    assert set(memory.ids[memory.classes == 2].tolist()) < set(range(2000, 2020))


def test_a_class_that_comes_again_is_chosen_from_what_is_held_and_what_is_new():
    memory, rng = EpisodicMemory(8, SCHEMA), np.random.default_rng(0)
    policy = Herding()
    policy.end_task(memory, rng, task([0], 5))
    again = ArrayCandidates(rows(30, 0, 1) + 1, np.zeros(30, int), np.arange(500, 530))
    policy.end_task(memory, rng, Judged(again, lambda x: {"features": x, "logits": x}))
    assert memory.class_histogram() == {0: 8} and (memory.ids >= 500).any()
    assert len(np.unique(memory.ids)) == 8


def test_uncertainty_takes_samples_from_sure_to_unsure():
    policy, rng = Uncertainty(), np.random.default_rng(0)
    x = np.zeros((40, 1, 8, 8), np.float32)
    sure = np.arange(40) / 40

    def evaluate(part):  # the sample's number stands in its corner; a view of it may be told wrongly
        number = np.rint(part.reshape(len(part), -1).max(axis=1) * 39).astype(int)
        flips = np.random.default_rng(len(part)).random(len(part)) > 0
        votes = (rng.random(len(part)) < sure[np.clip(number, 0, 39)] * 0.5).astype(int) * flips
        return {"logits": np.eye(2, dtype=np.float32)[votes]}

    x[:, 0] = (np.arange(40) / 39)[:, None, None]
    policy_view = policy.rank(lambda part: evaluate(part), x, 8, np.random.default_rng(1))
    assert len(policy_view) == len(set(policy_view.tolist())) == 8
    assert sure[policy_view[:3]].mean() < sure[policy_view[-3:]].mean()
    assert sorted(policy.rank(evaluate, x[:5], 8, rng).tolist()) == [0, 1, 2, 3, 4]


@given(st.integers(0, 999))
def test_a_view_stays_within_the_samples_type_and_range(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (3, 1, 16, 9)).astype(np.uint8)
    seen = view(x, rng)
    assert seen.shape == x.shape and seen.dtype == np.uint8 and not np.array_equal(seen, x)
    signal = rng.normal(size=(3, 6, 1, 128)).astype(np.float32)
    other = view(signal, rng)
    assert other.dtype == np.float32 and other.min() >= signal.min() and other.max() <= signal.max()


def test_diverse_keeps_what_is_unlike_the_rest():
    memory, policy, rng = EpisodicMemory(10, SCHEMA), MEMORY_POLICIES.get("diverse")(), np.random.default_rng(0)
    policy.offer(memory, rng, rows(10), np.zeros(10, int), scores=np.full(10, 1.9))
    before = memory.samples.copy()
    policy.offer(memory, rng, rows(50, seed=1), np.zeros(50, int), scores=np.full(50, 1.2))
    assert np.array_equal(memory.samples, before), "alike: stays out"
    policy.offer(memory, rng, rows(50, 1), np.ones(50, int), scores=np.full(50, 0.1))
    assert memory.class_histogram()[1] >= 8
    again = MEMORY_POLICIES.get("diverse")()
    again.load(policy.state())
    assert np.array_equal(again.scores, policy.scores) and len(again.scores) == 10
    with pytest.raises(BadRecord, match="scores"):
        policy.offer(memory, rng, rows(1), np.zeros(1, int))


@pytest.mark.parametrize("name", ["herding", "uncertainty"])
def test_a_policy_that_asks_the_network_refuses_to_guess(name):
    with pytest.raises(BadRecord, match="asks the network"):
        MEMORY_POLICIES.get(name)().end_task(EpisodicMemory(4, SCHEMA), np.random.default_rng(0), None)


def test_stored_fields_come_along():
    schema = StreamSchema((2,), "float32", {"logits": FieldSpec("float16", 3)})
    memory = EpisodicMemory(4, schema)
    y = np.zeros(6, int)
    logits = np.arange(18, dtype=np.float16).reshape(6, 3)
    both = Judged(ArrayCandidates(rows(6), y, np.arange(6), {"logits": logits}), lambda x: {"features": x})
    Herding().end_task(memory, np.random.default_rng(0), both)
    assert np.array_equal(memory.fields["logits"], logits[memory.ids])
