"""Ctrl-C in the midst of a write: the store says that it has to be opened again, and is whole then."""

import signal

import numpy as np
import pytest
from edgecl.storage import SampleStore
from edgecl.storage.errors import StoreDamaged
from edgecl.storage.transfer import live_ids
from store_samples import SCHEMA, sample_of


class Interrupt(BaseException):
    pass


@pytest.fixture
def alarm():
    def interrupt(*_):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupted_store_takes_nothing_more_and_is_whole_when_opened_again(tmp_path, alarm):
    interrupted, options = 0, {"durability": "durable", "limit_samples": 300}
    store = SampleStore(tmp_path / "s", SCHEMA, **options)
    for n in range(300):
        first = store.next_id
        try:
            alarm(0.00002 + 0.00001 * (n % 60))
            for _ in range(50):
                ids = store.next_id + np.arange(20)
                store.append(sample_of(ids), ids % 5, ids % 3)
            alarm(0)
        except Interrupt:
            alarm(0)
            try:
                store.append(sample_of([store.next_id]), 0)  # it came between two writes, or before anything changed
            except StoreDamaged as error:
                assert "interrupted" in error.cause and "again" in error.remedy
                interrupted += 1
                store.close()
                store = SampleStore(tmp_path / "s", SCHEMA, **options)
        assert store.next_id >= first
        got = store.read(live_ids(store))
        assert got["ok"].all() and (got["samples"] == sample_of(got["ids"])).all()
    store.close()
    assert interrupted
