"""Labels that come late or are corrected, and samples taken out one by one: durable, and as if they had come so."""

import numpy as np
import pytest
from edgecl.storage import Carousel, EpisodicMemory, KeyFile, ReadAhead, SampleStore
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


def fill(store, n, classes=None):
    ids = store.next_id + np.arange(n)
    labels = ids % 3 if classes is None else np.full(n, classes)
    return store.append(sample_of(ids), labels, ids % 5, fields={"logits": logits_of(ids)})


def seen(store):
    """Class by id of everything live, checked by its content."""
    ids = np.sort(np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())]))
    batch = store.read(ids)
    assert batch["ok"].all() and (batch["samples"] == sample_of(ids)).all() and len(ids) == store.count
    assert not len(ids) or (batch["fields"]["logits"][0][:, :4] == logits_of(ids)).all()
    for c in store.classes():
        mine = store.ids_of_class(c)
        assert (np.diff(mine) > 0).all() and (batch["classes"][np.isin(ids, mine)] == c).all()
        assert [store.kth(c, k) for k in range(len(mine))] == mine.tolist()
    assert [store.kth_oldest(k) for k in range(len(ids))] == ids.tolist()
    return dict(zip(ids.tolist(), batch["classes"].tolist()))


def test_a_label_that_comes_late_is_the_samples_class_from_then_on(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 40, -1)
        assert store.classes() == [-1]
        store.relabel(np.arange(30), np.arange(30) % 4)
        assert store.count_of(-1) == 10 and store.ids_of_class(2).tolist() == list(range(2, 30, 4))
        before = seen(store)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert seen(store) == before
        store.compact()
        assert seen(store) == before
    with SampleStore(tmp_path / "s", SCHEMA, read_only=True) as store:
        assert seen(store) == before


def test_a_removed_sample_is_gone_and_stays_gone(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 40)
        assert store.remove([3, 5, 5, 900]) == 2 and store.remove([3]) == 0
        assert set(range(40)) - set(seen(store)) == {3, 5}
        assert store.read([3])["ok"].tolist() == [False]
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert set(range(40)) - set(seen(store)) == {3, 5} and store.next_id == 40
        with pytest.raises(BadRecord, match="no sample 3"):
            store.relabel([2, 3], 1)
        assert seen(store)[2] == 2  # none of the call
        store.compact()
        assert set(range(40)) - set(seen(store)) == {3, 5} and store.verify() == []


def test_erasing_leaves_nothing_of_the_removed_ones_in_any_file(tmp_path):
    schema = SCHEMA
    with SampleStore(tmp_path / "s", schema) as store:
        rows = np.random.default_rng(0).integers(0, 256, (30, *schema.sample_shape), dtype=np.uint8)
        store.append(rows, 0)
        store.remove([4, 11], erase=True)
        text = b"".join(p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())
        assert [i for i in range(30) if rows[i].tobytes() not in text] == [4, 11]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_openings_and_compactions_change_nothing_of_what_was_said(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("amend") / "s"
    limit = data.draw(st.sampled_from([None, 60]))
    policy = data.draw(st.sampled_from(["balanced", "oldest", "reservoir"]))
    options = dict(limit_samples=limit, eviction=policy)
    store = SampleStore(path, SCHEMA, **options)
    expected = {}
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["append", "relabel", "remove", "open", "compact", "forget"]))
        live = sorted(expected)
        some = [] if not live else data.draw(st.lists(st.sampled_from(live), max_size=8, unique=True))
        if what == "append":
            fill(store, data.draw(st.integers(1, 40)), data.draw(st.sampled_from([None, -1, 0])))
        elif what == "relabel":
            classes = data.draw(st.lists(st.integers(-1, 4), min_size=len(some), max_size=len(some)))
            store.relabel(np.array(some, np.int64), np.array(classes, np.int64))
            expected.update(zip(some, classes))
        elif what == "remove":
            store.remove(np.array(some, np.int64))
        elif what == "open":
            store.close()
            store = SampleStore(path, SCHEMA, **options)
        elif what == "compact":
            store.compact()
        else:
            store.forget(data.draw(st.integers(0, 4)))
        now = seen(store)
        if what in ("open", "compact", "relabel"):
            assert now == expected
        expected = now
    store.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_a_power_cut_between_the_log_and_the_commit_point_loses_no_label(tmp_path, sealed, monkeypatch):
    if sealed:
        pytest.importorskip("cryptography")
    key = KeyFile(tmp_path / "key") if sealed else None
    store = SampleStore(tmp_path / "s", SCHEMA, limit_samples=20, root_key=key)
    fill(store, 60)
    live = store.newest(20)

    def cut(*_, **__):
        raise OSError(5, "the power is gone")

    monkeypatch.setattr(store._db, "commit", cut)
    with pytest.raises(Exception, match="power"):
        store.relabel(live[-3:], 7)  # the oldest: of class 7 nothing that old was ever stored
    store.close()
    monkeypatch.undo()
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=20, root_key=key) as store:
        assert store.ids_of_class(7).tolist() == sorted(live[-3:].tolist()) and len(seen(store)) == 20


def test_memory_and_swaps_hear_of_it(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 200)
        memory, rng = EpisodicMemory(10, SCHEMA), np.random.default_rng(0)
        memory.put_many(range(10), sample_of(range(10)), np.arange(10) % 3, range(10))
        store.listen(memory.relabel)
        with Carousel(store, memory) as carousel:
            for step in range(60):
                carousel.begin_step(step)
                assert (memory.samples[memory.classes >= 0] == sample_of(memory.ids[memory.classes >= 0])).all()
                held = memory.ids[memory.classes >= 0]
                assert (store.read(held)["classes"] == memory.classes[memory.classes >= 0]).all()
                carousel.request(step, memory.draw(rng, 5), rng)
                some = rng.choice(store.ids_of_class(step % 3), 5, replace=False)
                store.relabel(some[:3], (step + 1) % 3)
                store.remove(some[3:])
        assert memory.filled < 10 and memory.class_histogram() == {
            int(c): int(n) for c, n in zip(*np.unique(memory.classes[memory.classes >= 0], return_counts=True))
        }
        assert store.verify() == []


def test_a_batch_named_before_a_relabelling_is_still_served(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store, ReadAhead(store) as ahead:
        fill(store, 50)
        ahead.expect(np.arange(10), np.arange(10) % 3)
        store.relabel([2, 4], 9)
        store.remove([6])
        rows, ok = ahead.take()
        assert ok.tolist() == [i != 6 for i in range(10)] and (rows[ok] == sample_of(np.arange(10)[ok])).all()


def test_a_long_log_is_shortened_to_what_still_matters(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 2000)
        for k in range(12):
            store.relabel(np.arange(2000), k % 7)
        long = (tmp_path / "s" / "changes.log").stat().st_size
        before = seen(store)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert (tmp_path / "s" / "changes.log").stat().st_size < long / 5
        assert seen(store) == before
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert seen(store) == before


def test_a_mark_says_which_saved_state_covers_what(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert store.mark is None
        fill(store, 10)
        store.set_mark("abc", 4)
        fill(store, 10)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert store.mark == {"lineage": "abc", "generation": 4, "next_id": 10}
