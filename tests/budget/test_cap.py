"""The RAM plan holds where the kernel enforces it: the demo's runs in a control group of their budget and 8 MB."""

from __future__ import annotations

from pathlib import Path

import pytest
from capped import MB, Ended, NoController, capped_run, demo_under_cap, kept

from edgecl.commands import demo
from edgecl.data.streams import load_stream


@pytest.fixture(scope="module", autouse=True)
def data():
    """In the cache before a cap holds: pip, which fetches it, needs more than these runs."""
    load_stream(demo.STREAM)


def both_runs(budget: int, folder: Path, extra: dict) -> tuple[dict, dict]:
    """Records of the demo's two runs under their cap."""
    try:
        ended = demo_under_cap(budget, folder, extra)
    except NoController as why:
        pytest.skip(str(why))
    assert {name: kept(budget, run) for name, run in ended.items()} == {"naive": [], "sparcl": []}
    return ended["naive"].record, ended["sparcl"].record


def test_the_slice_runs_under_a_cap_of_64_mb_and_8(tmp_path):
    records = both_runs(64, tmp_path, demo.SLICE)
    assert [text for text, held in demo.behaviour(*records) if not held] == []


@pytest.mark.campaign
@pytest.mark.parametrize("budget", [64, 96, 128, 256])
def test_the_whole_demo_runs_under_a_cap_of_its_budget_and_8_mb(budget, tmp_path):
    records = both_runs(budget, tmp_path, {})
    assert [text for text, held in demo.behaviour(*records) if not held] == []
    if budget >= 96:  # 64 MB leave fewer slots, so other figures
        assert [text for text, held in demo.accuracy(*records) if not held] == []


def test_a_budget_of_a_few_megabytes_is_refused_at_plan_time(tmp_path):
    try:
        refused = capped_run(64 * MB, tmp_path, "never", demo.NAIVE, "8MB")
    except NoController as why:
        pytest.skip(str(why))
    assert (refused.status, refused.killed, refused.record) == (2, 0, None)
    assert "does not hold this" in refused.said and "nearest budget that would" in refused.said


def test_what_the_cap_shows_to_be_wrong_is_told():
    memory = {"baseline_bytes": 40 * MB, "planned_peak_rss_bytes": 60 * MB, "measured_peak_rss_bytes": 61 * MB}
    record = {"memory": memory, "plan": {"growth_bytes": {}}}
    assert kept(64, Ended(0, "", 0, 70 * MB, record)) == []
    assert kept(64, Ended(-9, "gone", 1, 72 * MB, None))[0].startswith("status -9, 1 killed")
    assert len(kept(64, Ended(0, "", 0, 73 * MB, record))) == 1
    memory["planned_peak_rss_bytes"] = 58 * MB
    assert len(kept(64, Ended(0, "", 0, 70 * MB, record))) == 1
