"""What goes when the store is full, for every policy; that resuming and reopening see the same."""

import numpy as np
import pytest
from edgecl.storage import SampleStore
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


def live(store):
    ids = np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())])
    return np.sort(ids).tolist()


def add(store, classes, start=None):
    ids = (store.next_id if start is None else start) + np.arange(len(classes))
    store.append(sample_of(ids), classes, ids=ids, fields={"logits": logits_of(ids)})


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=300), st.integers(1, 60))
def test_oldest_first_keeps_the_newest(tmp_path_factory, classes, limit):
    with SampleStore(tmp_path_factory.mktemp("s"), SCHEMA, limit_samples=limit, eviction="oldest") as store:
        add(store, classes)
        assert live(store) == list(range(max(0, len(classes) - limit), len(classes)))


def test_a_reservoir_keeps_every_sample_with_the_same_probability(tmp_path):
    n, limit, runs = 2000, 400, 60
    kept = np.zeros(n)
    for seed in range(runs):
        options = dict(limit_samples=limit, eviction="reservoir", eviction_seed=seed)
        with SampleStore(tmp_path / str(seed), SCHEMA, **options) as store:
            for at in range(0, n, 250):
                add(store, (np.arange(at, at + 250) // 500).tolist())
            assert store.count == limit
            kept[live(store)] += 1
    by_age = kept.reshape(20, -1).sum(axis=1)  # expected: runs * 100 * 0.2 = 1200 in each, deviation about 30
    assert (np.abs(by_age - runs * 100 * limit / n) < 150).all()
    assert kept.max() < runs * 0.6 and kept.min() > 0


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.sampled_from(["reservoir", "oldest", "balanced"]),
       st.booleans())  # fmt: skip
def test_what_stays_depends_on_the_sequence_alone(tmp_path_factory, parts, policy, lose_index):
    n = sum(parts)
    classes = np.random.default_rng(0).integers(0, 5, n)
    options = dict(limit_samples=60, eviction=policy, eviction_seed=5)
    with SampleStore(tmp_path_factory.mktemp("a"), SCHEMA, **options) as store:
        add(store, classes)
        want = live(store)
    path, at = tmp_path_factory.mktemp("b"), 0
    for part in parts:
        with SampleStore(path, SCHEMA, **options) as store:
            add(store, classes[at : at + part])
            at += part
    if lose_index:
        (path / "index" / "data.mdb").unlink()
    with SampleStore(path, **options) as store:
        assert live(store) == want
        batch = store.read(want)
        assert batch["ok"].all() and (batch["samples"] == sample_of(want)).all()
        assert store.verify() == []


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 20), st.integers(1, 8), st.sampled_from(["reservoir", "oldest"]))
def test_a_resumed_run_sees_the_same_under_every_policy(tmp_path_factory, at, lost, policy):
    classes = np.random.default_rng(3).integers(0, 4, 30 * 20)
    options = dict(limit_samples=150, eviction=policy, eviction_seed=9)

    def run(store, start, stop, log, state_at=None):
        state = None
        for step in range(start, stop):
            if step == state_at:
                state = store.state()
            ids = step * 20 + np.arange(20)
            store.append(sample_of(ids), classes[ids], ids=ids)
            log.append((step, live(store)))
        return state

    whole, first, rest = [], [], []
    with SampleStore(tmp_path_factory.mktemp("a"), SCHEMA, **options) as store:
        run(store, 0, 30, whole, at)
    path = tmp_path_factory.mktemp("b")
    with SampleStore(path, SCHEMA, **options) as store:
        state = run(store, 0, min(30, at + lost), first, at)
    with SampleStore(path, **options) as store:
        assert store.load(state)["missing"] == 0
        run(store, at, 30, rest)
        assert rest == whole[at:]


@pytest.mark.parametrize("policy", ["balanced", "reservoir", "oldest"])
def test_a_byte_limit_is_kept_and_blocks_are_given_back(tmp_path, policy):
    limit = 1 << 20
    rng = np.random.default_rng(0)
    with SampleStore(tmp_path / "s", SCHEMA, limit_bytes=limit, eviction=policy) as store:
        for _ in range(60):
            add(store, rng.integers(0, 5, 400))
            files = [f for f in (tmp_path / "s").rglob("*") if f.is_file() and f.name != "lock.mdb"]
            assert sum(f.stat().st_blocks * 512 for f in files) <= limit + (256 << 10)
        assert store.count * SCHEMA.sample_bytes > limit / 8
        want = live(store)
        assert store.read(want)["ok"].all()
    with SampleStore(tmp_path / "s", limit_bytes=limit, eviction=policy) as store:
        assert live(store) == want


def test_another_policy_may_take_over(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=100) as store:
        add(store, np.arange(400) % 4)
        before = live(store)
    for policy in ("reservoir", "oldest", "balanced"):
        with SampleStore(tmp_path / "s", limit_samples=80, eviction=policy) as store:
            add(store, [1, 2])
            assert store.count == 80 and store.read(live(store))["ok"].all()
            if policy == "reservoir":  # what a reservoir evicted and is still on flash may come back under another
                assert set(live(store)) <= {*before, *range(400, store.next_id)}


def test_an_unknown_policy_is_refused(tmp_path):
    with pytest.raises(BadRecord, match="balanced, reservoir, oldest"):
        SampleStore(tmp_path / "s", SCHEMA, eviction="random")


def test_samples_are_found_by_age(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=300) as store:
        add(store, np.random.default_rng(1).integers(0, 7, 1000))
        want = live(store)
        assert [store.kth_oldest(k) for k in range(300)] == want and store.kth_oldest(300) == -1
        assert store.newest(5).tolist() == want[:-6:-1]
        assert [store.older_than(i) for i in (0, want[10], 10**6)] == [0, 10, 300]


def test_space_comes_back_however_often_states_are_taken(tmp_path):
    """A capacity in samples bounds the files too, also where every state ends the commit before a seal could."""
    stride, sizes = 64 + 24 + 16 + 64, []
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=1000) as store:
        for at in range(0, 24_000, 200):
            add(store, [at // 200 % 3] * 200)
            store.state()
            sizes.append(store.bytes)
        assert store.count == 1000
    assert max(sizes[60:]) < 2 * 1000 * (SCHEMA.sample_bytes + stride) + (1 << 20)
    assert max(sizes[90:]) - min(sizes[60:]) < 600_000
