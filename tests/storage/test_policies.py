import numpy as np
import pytest
from edgecl.storage import ArrayCandidates, EpisodicMemory, SampleStore, StoreCandidates, make_policy
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


def offer(policy, memory, rng, ids, classes):
    return policy.offer(memory, rng, sample_of(ids), classes, ids, {"logits": logits_of(ids)})


def whole(memory):
    """Sample, id and logits of every slot belong together."""
    kept = np.flatnonzero(memory.classes >= 0)
    return (memory.samples[kept] == sample_of(memory.ids[kept])).all() and (
        memory.fields["logits"][kept] == logits_of(memory.ids[kept])
    ).all()


def test_an_unknown_policy_lists_the_known_ones():
    with pytest.raises(BadRecord, match="reservoir, ring, balanced"):
        make_policy("fifo")


def test_the_reservoir_keeps_every_sample_with_the_same_probability():
    n, slots, runs = 60, 12, 3000
    policy, rng, counts = make_policy("reservoir"), np.random.default_rng(0), np.zeros(60)
    for _ in range(runs):
        memory = EpisodicMemory(slots, SCHEMA)
        for at in range(0, n, 20):
            offer(policy, memory, rng, np.arange(at, at + 20), np.zeros(20, int))
        counts[memory.ids] += 1
    expected = runs * slots / n
    # counts are binomial, negatively correlated: chi-square over its mean, 59 degrees of freedom, p < 0.001
    assert ((counts - expected) ** 2 / (expected * (1 - slots / n))).sum() * (n - 1) / n < 100


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 20), st.lists(st.integers(1, 15), min_size=1, max_size=10), st.integers(0, 99))
def test_the_reservoir_follows_its_definition(slots, parts, seed):
    memory, policy = EpisodicMemory(slots, SCHEMA), make_policy("reservoir")
    rng, twin = np.random.default_rng(seed), np.random.default_rng(seed)
    expected, n = {}, 0
    for k in parts:
        first = n
        ids = np.arange(first, first + k)
        highs = np.array([i + 1 for i in range(n, n + k) if i >= slots])
        draws = iter(twin.integers(0, highs).tolist() if len(highs) else [])
        for i in ids:
            slot = n if n < slots else next(draws)
            if slot < slots:
                expected[slot] = int(i)
            n += 1
        offer(policy, memory, rng, ids, ids % 3)
    assert memory.offered == n
    assert {int(s): int(memory.ids[s]) for s in np.flatnonzero(memory.classes >= 0)} == expected
    assert whole(memory)


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 20), st.lists(st.integers(0, 4), min_size=1, max_size=120), st.integers(1, 9))
def test_the_ring_holds_the_newest_of_each_class(slots, classes, chunk):
    memory, policy, rng = EpisodicMemory(slots, SCHEMA), make_policy("ring"), np.random.default_rng(0)
    for at in range(0, len(classes), chunk):
        ids = np.arange(at, min(at + chunk, len(classes)))
        offer(policy, memory, rng, ids, np.array(classes)[ids])
    quota = slots // len(set(classes))
    if quota:
        for c in set(classes):
            own = sorted(memory.ids[memory.classes == c].tolist())
            seen = [i for i, k in enumerate(classes) if k == c]
            assert own == seen[-len(own) :] and len(own) <= max(quota, len(own) and quota)
            assert len(own) >= min(quota, len([i for i in seen if i > max(map(classes.index, set(classes)))]))
    assert whole(memory) and memory.offered == len(classes)


@pytest.mark.parametrize("source", ["arrays", "store"])
def test_the_balanced_memory_has_equal_shares_after_each_task(tmp_path, source):
    rng, policy, memory = np.random.default_rng(0), make_policy("balanced"), EpisodicMemory(30, SCHEMA)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        for task in range(4):
            first = store.next_id
            ids = first + np.arange(100)
            classes = 2 * task + ids % 2
            assert (offer(policy, memory, rng, ids, classes) == -1).all()
            store.append(sample_of(ids), classes, fields={"logits": logits_of(ids)})
            before = set(memory.ids[memory.classes >= 0].tolist())
            if source == "arrays":
                candidates = ArrayCandidates(sample_of(ids), classes, ids, {"logits": logits_of(ids)})
            else:
                candidates = StoreCandidates(store, first, store.next_id)
            policy.end_task(memory, rng, candidates)
            quota = 30 // (2 * task + 2)
            assert memory.class_histogram() == dict.fromkeys(range(2 * task + 2), quota)
            old = set(memory.ids[(memory.classes >= 0) & (memory.classes < 2 * task)].tolist())
            assert old <= before and whole(memory)
    assert memory.offered == 400
    with pytest.raises(BadRecord):
        policy.end_task(memory, rng, None)


def test_the_same_seed_gives_the_same_memory():
    got = []
    for _ in range(2):
        memory, policy, rng = EpisodicMemory(10, SCHEMA), make_policy("reservoir"), np.random.default_rng(5)
        for at in range(0, 90, 9):
            offer(policy, memory, rng, np.arange(at, at + 9), np.arange(9))
        got.append(memory.ids.tolist())
    assert got[0] == got[1]
