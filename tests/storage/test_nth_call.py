"""Whatever single call fails, once or from then on, and wherever a process is killed: what was acknowledged is there, what
was forgotten is not, and errors have a type. A slice of the campaigns of bench/campaigns.py.
"""

import shutil

import pytest
from nth_call_campaign import COUNTS, nth_call, placed_kills


def holds(row, least):
    assert row["points"] >= least
    assert {name: row[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0), row["failures"]


@pytest.fixture(autouse=True)
def _tools():
    pytest.importorskip("cryptography")
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc for the preloaded library")


def test_a_call_that_fails_loses_nothing_and_leaks_nothing(tmp_path):
    row = nth_call(tmp_path, 26, 1)
    holds(row, 300)
    assert row["typed_errors"]["StoreDamaged"] and row["typed_errors"]["StoreFull"]


def test_a_kill_before_or_after_any_call_loses_nothing_and_leaks_nothing(tmp_path):
    holds(placed_kills(tmp_path, 60, 1), 60)


@pytest.mark.campaign
@pytest.mark.parametrize("campaign", [nth_call, placed_kills])
def test_every_point(tmp_path, campaign):
    holds(campaign(tmp_path, 1, 1), 3000)
