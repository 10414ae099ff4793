"""Read-ahead: what was named comes in that order with the right bytes, whatever the mover's timing."""

import os
import threading

import numpy as np
import pytest
from edgecl.storage import ReadAhead, SampleStore, errors
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, sample_of

N = 600


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    with SampleStore(tmp_path_factory.mktemp("r") / "s", SCHEMA) as store:
        ids = np.arange(N)
        store.append(sample_of(ids), ids % 4)
        yield store


batches = st.lists(st.lists(st.integers(-2, N + 3), max_size=20), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(batches, st.integers(1, 60), st.integers(1, 5))
def test_every_batch_is_what_a_direct_read_gives(shelf, batches, queue, depth):
    with ReadAhead(shelf, queue=queue) as ahead:
        named = 0
        for i, ids in enumerate(batches):
            while named < min(len(batches), i + depth):
                ahead.expect(batches[named], np.array(batches[named], int) % 4)
                named += 1
            samples, ok = ahead.take()
            direct = shelf.read(ids, fields=())
            np.testing.assert_array_equal(samples, direct["samples"])
            np.testing.assert_array_equal(ok, direct["ok"])
        assert ahead.pending == 0
    assert not shelf.verify()


def test_a_wrong_class_is_only_slower(shelf):
    with ReadAhead(shelf) as ahead:
        ahead.expect([5, 6, 7], [0, 0, 0])
        samples, ok = ahead.take()
    assert ok.all() and (samples == sample_of([5, 6, 7])).all()
    assert shelf.count == N


def test_the_mover_reads_while_the_caller_does_something_else(shelf):
    before = shelf.stats()["bytes_read"]
    with ReadAhead(shelf) as ahead:
        ahead.expect(np.arange(32), np.arange(32) % 4)
        until = threading.Event()
        for _ in range(500):
            if shelf.stats()["bytes_read"] - before >= 32 * SCHEMA.sample_bytes:
                break
            until.wait(0.01)
        assert shelf.stats()["bytes_read"] - before >= 32 * SCHEMA.sample_bytes
        assert (ahead.take()[0] == sample_of(np.arange(32))).all()


def test_what_was_dropped_does_not_come(shelf):
    with ReadAhead(shelf, queue=8) as ahead:
        for _ in range(20):
            ahead.expect(np.arange(30), np.arange(30) % 4)
            ahead.drop()
            ahead.expect([100, 101], [0, 1])
            assert (ahead.take()[0] == sample_of([100, 101])).all() and ahead.pending == 0
        with pytest.raises(errors.BadRecord):
            ahead.take()


def test_a_sample_evicted_meanwhile_is_not_served(tmp_path, fill):
    with SampleStore(tmp_path, SCHEMA, limit_samples=40) as store:
        fill(store, np.zeros(40, int))
        with ReadAhead(store) as ahead:
            ahead.expect([0, 1, 38, 39], np.zeros(4))
            fill(store, np.zeros(2, int))
            samples, ok = ahead.take()
            assert ok.tolist() == [False, False, True, True] and not samples[:2].any()
            assert (samples[2:] == sample_of([38, 39])).all()


def test_a_damaged_sample_is_not_served_and_is_listed(tmp_path, fill):
    with SampleStore(tmp_path, SCHEMA) as store:
        fill(store, np.zeros(50, int))
    file = next((tmp_path / "segments").glob("*.seg"))
    raw = bytearray(file.read_bytes())
    raw[raw.index(sample_of([7]).tobytes())] ^= 1
    with SampleStore(tmp_path, SCHEMA) as store, ReadAhead(store) as ahead:
        file.write_bytes(raw)
        ahead.expect([6, 7, 8], np.zeros(3))
        samples, ok = ahead.take()
        assert ok.tolist() == [True, False, True] and not samples[1].any()
        assert [d.id for d in store.verify()] == [7]


def test_it_reads_while_another_thread_appends(tmp_path, fill):
    with SampleStore(tmp_path, SCHEMA) as store, ReadAhead(store, queue=64) as ahead:
        fill(store, np.zeros(64, int))
        writer = threading.Thread(target=lambda: [fill(store, np.zeros(20, int)) for _ in range(100)])
        writer.start()
        rng = np.random.default_rng(0)
        for _ in range(300):
            ids = rng.integers(0, store.next_id, 32)
            ahead.expect(ids, np.zeros(32))
            samples, ok = ahead.take()
            assert ok.all() and (samples == sample_of(ids)).all()
        writer.join()


def test_trimmed_buffers_are_used_again(shelf):
    with ReadAhead(shelf, queue=400) as ahead:
        for _ in range(3):
            ahead.expect(np.arange(400), np.arange(400) % 4)
            assert (ahead.take()[0] == sample_of(np.arange(400))).all()
            assert 0 < ahead.trim() <= ahead.bytes
        ahead.expect(np.arange(200), np.arange(200) % 4)
        ahead.trim()  # those on their way stay
        assert (ahead.take()[0] == sample_of(np.arange(200))).all()


def test_closed_and_forked_it_says_so(shelf):
    ahead = ReadAhead(shelf)
    ahead.expect([1], [1])
    pid = os.fork()
    if pid == 0:
        try:
            ahead.take()
        except errors.UseAfterFork:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    ahead.close()
    ahead.close()
    with pytest.raises(errors.StoreClosed):
        ahead.expect([1], [1])
    with pytest.raises(errors.BadRecord):
        ReadAhead(shelf, queue=0)
