"""A card that fails under a store: errors have a type, what can be read is read, training goes on, nothing is lost."""

import contextlib
import os
import shutil

import numpy as np
import pytest
from edgecl.storage import Carousel, EpisodicMemory, SampleStore, index
from edgecl.storage.errors import ReadOnly, StoreDamaged, StoreError, StoreFull
from edgecl.storage.naming import FILES
from failing_card import Card
from store_samples import SCHEMA, sample_of

N = 3000


def fill(store, n):
    ids = store.next_id + np.arange(n)
    return store.append(sample_of(ids), ids % 3)


def filled(card):
    store = SampleStore(card.mount / "s", SCHEMA, durability="durable")
    fill(store, N).wait()
    return store


def swaps(store, steps=20):
    """Reasons of dropped swaps, and how many were done, of a memory that is exchanged with the store."""
    memory, rng = EpisodicMemory(30, SCHEMA), np.random.default_rng(0)
    memory.put_many(range(30), sample_of(range(30)), np.arange(30) % 3, range(30))
    with Carousel(store, memory) as carousel:
        for step in range(steps):
            carousel.begin_step(step)
            carousel.request(step, memory.draw(rng, 10), rng)
        assert (memory.samples == sample_of(memory.ids)).all()
        return {reason for _, _, reason in carousel.log}, carousel.counters["swaps_done"]


def abandon(store):
    with contextlib.suppress(StoreError):
        store.close()


def test_a_card_that_refuses_writes_is_named_and_still_read(card, tmp_path):
    store = filled(card)
    card.refuse_writes()
    for _ in range(2):  # and stays refused: what was not flushed may be gone
        with pytest.raises(StoreDamaged, match="Input/output") as caught:
            fill(store, 100).wait()
    assert caught.value.remedy
    assert store.read(range(N))["ok"].all()
    dropped, done = swaps(store)
    assert not dropped and done > 50
    abandon(store)
    copy = Card(tmp_path / "copy", image=card.image())
    try:
        with SampleStore(copy.mount / "s") as store:
            assert store.read(range(N))["ok"].all() and store.verify() == []
            fill(store, 10).wait()
    finally:
        copy.off()


def test_what_a_card_cannot_read_is_left_out_until_it_can(card):
    store = filled(card)
    segment = max((card.mount / "s" / "segments").glob("*.seg"))
    card.lose(segment, first_byte=64 << 10)
    batch = store.read(range(N))
    ok = batch["ok"]
    assert 0 < ok.sum() < N and (batch["samples"][ok] == sample_of(np.flatnonzero(ok))).all()
    assert {d.id for d in store.verify()} == set(np.flatnonzero(~ok).tolist())
    assert store.count == ok.sum()
    dropped, done = swaps(store)
    assert dropped <= {"damaged"} and done > 50
    card.find()
    abandon(store)
    with SampleStore(card.mount / "s") as store:  # the segments are the truth, and they are whole
        assert store.read(range(N))["ok"].all() and store.verify() == []


def test_an_index_that_cannot_be_read_is_an_error_and_not_a_rebuild(card):
    filled(card).close()
    card.lose(card.mount / "s" / "index" / "data.mdb")
    pid = os.fork()  # a mapped page that cannot be read is a signal
    if pid == 0:
        try:
            SampleStore(card.mount / "s")
        except StoreDamaged as error:
            os._exit(10 if "Input/output" in error.cause and error.remedy else 11)
        os._exit(12)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10
    card.find()
    with SampleStore(card.mount / "s") as store:
        assert not store.rebuilt and store.count == N


def test_a_file_system_that_turns_read_only_under_a_store(card, tmp_path):
    store = filled(card)
    card.turn_read_only()
    with pytest.raises((ReadOnly, StoreDamaged)) as caught:
        fill(store, 100).wait()
    assert caught.value.remedy
    assert store.read(range(N))["ok"].all()
    assert swaps(store)[1] > 50
    abandon(store)
    copy = Card(tmp_path / "copy", image=card.image())
    try:
        with SampleStore(copy.mount / "s") as store:
            assert store.read(range(N))["ok"].all() and store.verify() == []
    finally:
        copy.off()


def test_values_that_the_card_does_not_give_are_not_taken_for_none(card):
    with filled(card) as store:
        store.meta_set({"who": b"me"})
    folder = card.mount / "s"
    shutil.rmtree(folder / "index")
    card.lose(folder / "values.json")
    with pytest.raises(StoreError, match="Input/output"):
        SampleStore(folder)
    card.find()
    with SampleStore(folder) as store:
        assert store.rebuilt and store.meta_get("who") == b"me"


@pytest.mark.parametrize("lost", [(FILES[0],), (FILES[1],), FILES])
def test_names_that_the_card_does_not_give_keep_nobody_from_opening_and_are_not_lost(card, lost):
    with filled(card) as store:
        store.name_classes(["a", "b"], {})
    card.lose(*(card.mount / "s" / name for name in lost))
    with SampleStore(card.mount / "s", read_only=True) as store:
        if len(lost) == 1:
            assert store.class_names().names == ["a", "b"]
        else:
            with pytest.raises(StoreError, match="cannot be read"):
                store.class_names()
    card.find()
    with SampleStore(card.mount / "s") as store:
        assert store.class_names().names == ["a", "b"]


def test_an_index_larger_than_its_map_gets_a_larger_one_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_MAP_BYTES", 1 << 20)
    monkeypatch.setattr(index, "_MOST_BYTES", 4 << 20)
    value = np.random.default_rng(0).bytes(400_000)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 100).wait()
        with pytest.raises(StoreFull, match="4 MB") as caught:
            for k in range(20):
                store.meta_set({str(k): value})
        assert k >= 3 and caught.value.remedy  # 1 MB was not the end
        fill(store, 100).wait()
        assert store.meta_get("1") == value
    with SampleStore(tmp_path / "s") as store:
        assert store.count == 200 and store.meta_get("1") == value and not store.rebuilt


def test_a_map_that_cannot_grow_on_a_full_card(card):
    value = np.random.default_rng(0).bytes(1 << 20)
    with SampleStore(card.mount / "s", SCHEMA) as store:
        fill(store, 100).wait()
        with pytest.raises(StoreFull) as caught:
            for k in range(20):
                store.meta_set({str(k): value})
        assert caught.value.remedy
        assert store.read(range(100))["ok"].all() and store.meta_get("0") == value
    with SampleStore(card.mount / "s") as store:
        assert store.count == 100 and store.verify() == [] and store.meta_get("0") == value
