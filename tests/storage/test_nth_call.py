"""Whatever single call fails, once or from then on, and wherever a process is killed: what was acknowledged is there,
what was forgotten is not, and errors have a type. A slice of the campaigns of bench/campaigns.py.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from nth_call_campaign import COUNTS, nth_call, placed_kills


def holds(row, least):
    assert row["points"] >= least
    assert {name: row[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0), row["failures"]


@pytest.fixture
def place():
    pytest.importorskip("cryptography")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc for the preloaded library")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # the kernel's part of a flush is not what is tested
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_call_that_fails_loses_nothing_and_leaks_nothing(place):
    row = nth_call(place, 48, 1, "store")
    holds(row, 240)  # and 60 below
    assert row["typed_errors"]["StoreDamaged"] and row["typed_errors"]["StoreFull"]


def test_a_call_that_fails_while_a_subject_is_forgotten_costs_nobody_elses_sample(place):
    """A read, a write or a full card in `forget`: what it leaves is whole, and the handle goes on or refuses."""
    holds(nth_call(place, 8, 2, "forget"), 60)


def test_a_kill_before_or_after_any_call_loses_nothing_and_leaks_nothing(place):
    holds(placed_kills(place, 60, 1, "store"), 60)


@pytest.mark.campaign
@pytest.mark.parametrize("campaign", [nth_call, placed_kills])
def test_every_point(place, campaign):
    holds(campaign(place, 1, 1), 3000)
