"""Bytes written are counted over restarts, a daily budget is kept, and a card's life follows from its figures."""

import math

import numpy as np
import pytest
from edgecl.storage import SampleStore, WriteMeter, endurance_years
from edgecl.storage.errors import BadRecord, WriteBudgetSpent
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


class Clocks:
    """Wall and steady clock that the test turns by hand."""

    def __init__(self):
        self.wall = self.steady = 1e9

    def meter(self, limit=None):
        return WriteMeter(limit, lambda: self.wall, lambda: self.steady)

    def go(self, seconds):
        self.wall += seconds
        self.steady += seconds


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 2e4), st.integers(1, 400)), min_size=1, max_size=60), st.booleans())
def test_no_24_hours_hold_more_than_the_budget(writes, restarts):
    clocks = Clocks()
    meter, done = clocks.meter(1000), []
    for wait, n in writes:
        clocks.go(wait)
        if restarts:
            raw, meter = meter.pack(), clocks.meter(1000)
            meter.restore(raw)
        if meter.allows(n):
            meter.add(n)
            done.append((clocks.steady, n))
        for end, _ in done:
            assert sum(n for t, n in done if end - 86400 < t <= end) <= 1000


def test_the_wait_it_names_is_enough():
    clocks = Clocks()
    meter = clocks.meter(1000)
    for n in (400, 300, 250):
        meter.add(n)
        clocks.go(2 * 3600)
    wait = meter.wait_seconds(500)
    assert 0 < wait < 86400 and not meter.allows(500)
    clocks.go(wait + 1)
    assert meter.allows(500)
    assert meter.wait_seconds(2000) == math.inf


def test_a_clock_that_jumps_neither_frees_nor_blocks_the_budget():
    clocks = Clocks()
    meter = clocks.meter(1000)
    meter.add(900)
    clocks.wall -= 10 * 86400  # while it runs: the steady clock counts
    assert not meter.allows(200)
    raw, meter = meter.pack(), clocks.meter(1000)
    clocks.wall -= 86400  # over a restart: no time has passed
    meter.restore(raw)
    assert meter.last_day == 900
    clocks.go(25 * 3600)
    assert meter.last_day == 0 and meter.allows(900)


def test_bytes_written_last_over_a_restart_and_cover_what_is_on_flash(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of(range(500)), 0, fields={"logits": logits_of(range(500))})
        stats = store.stats()
        assert stats["bytes_written"] >= stats["flash_bytes"] - store._db.size
        assert stats["bytes_written_last_day"] == stats["bytes_written"]
        assert stats["write_amplification"] == stats["bytes_written"] / stats["payload_written"]
        before = stats["bytes_written"]
    with SampleStore(tmp_path / "s") as store:
        assert store.wear.last_day >= before and store.wear.total >= before


def test_a_spent_budget_refuses_an_append_whole_and_declines_a_refresh(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, daily_write_budget=100_000) as store:
        stored = 0
        with pytest.raises(WriteBudgetSpent) as caught:
            while True:
                store.append(sample_of(stored + np.arange(50)), 0)
                stored += 50
        assert 0 < caught.value.retry_after <= 25 * 3600
        assert store.count == store.next_id == stored > 100
        assert store.wear.last_day <= 100_000
        assert len(store.update_field("logits", [0], logits_of([0]), optional=True).ids) == 0
        assert store.stats()["writes_declined"] == 1
        assert store.read(range(stored))["ok"].all()
        store.wear.limit = None
        assert store.append(sample_of([stored]), 0).ids.tolist() == [stored]


def test_life_of_a_card():
    # 128 GB at 900 cycles, 2 GB a day, amplification 3: 115.2 TB / 6 GB a day
    assert endurance_years(2e9, 128e9, 900, 3.0) == pytest.approx(128e9 * 900 / 6e9 / 365)
    assert endurance_years(0, 128e9, 900) == math.inf
    with pytest.raises(BadRecord):
        endurance_years(1, 0, 900)
