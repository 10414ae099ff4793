"""The ledger's verdicts: what a mean and its spread allow one to say, and what they do not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])


def test_students_t_is_that_of_the_tables():
    from ledger_math import t_quantile

    known = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 30: 2.042}
    for degrees, value in known.items():
        assert t_quantile(degrees) == pytest.approx(value, abs=2e-3)
    assert t_quantile(5, 0.995) == pytest.approx(4.032, abs=2e-3)


def test_welch_of_two_samples_by_hand():
    from ledger_math import welch

    difference, (low, high) = welch([10.0, 12.0, 14.0], [9.0, 11.0, 13.0])
    half = 2.776 * (4 / 3 + 4 / 3) ** 0.5  # equal spreads: 4 degrees of freedom
    assert difference == pytest.approx(1.0) and (high - low) / 2 == pytest.approx(half, abs=2e-3)
    assert welch([5.0, 5.0], [4.0, 4.0]) == (1.0, (1.0, 1.0))


@pytest.mark.parametrize(
    ("ours", "theirs", "differences", "verdict"),
    [
        ([72.0, 72.4, 71.8, 72.2, 72.1], [72.1, 72.0, 72.3], (), "reproduced"),
        ([72.0, 72.4, 71.8], [72.1, 72.0, 72.3], (), "open"),  # of ours too few
        ([60.0, 60.4, 59.8, 60.2, 60.1], [72.1, 72.0, 72.3], (), "not reproduced"),
        ([80.0, 80.4, 79.8, 80.2, 80.1], [72.1, 72.0, 72.3], (), "better"),
        ([80.0, 80.4, 79.8, 80.2, 80.1], [72.1, 72.0, 72.3], ("another head",), "not comparable"),
        ([72.0, 78.0, 66.0, 74.0, 70.0], [72.0, 78.0, 66.0], (), "not comparable"),  # theirs says nothing
        ([72.0, 76.0, 68.0, 74.0, 70.0], [72.0, 74.0, 70.0], (), "open"),  # overlap is no verdict
        ([72.0], [72.1, 72.0, 72.3], (), "open"),
    ],
)
def test_a_verdict_about_a_figure(ours, theirs, differences, verdict):
    from ledger_math import figure_verdict

    found, why, _ = figure_verdict(ours, theirs, 2.0, differences)
    assert found == verdict and why
    if verdict == "open" and len(ours) > 1:
        assert "seeds" in why


def test_a_verdict_about_an_order_is_paired_by_seed():
    from ledger_math import order_verdict

    base = [50.0, 70.0, 60.0, 40.0, 80.0]  # they spread by far more than they differ
    assert order_verdict([b + 2 + 0.1 * i for i, b in enumerate(base)], base)[0] == "reproduced"
    assert order_verdict([b - 2 - 0.1 * i for i, b in enumerate(base)], base)[0] == "not reproduced"
    assert order_verdict([51.0, 68.0, 63.0, 37.0, 81.0], base)[0] == "open"
    assert order_verdict([51.0], base)[0] == "open"


def test_every_row_names_options_that_a_run_takes_and_a_peer_that_was_measured():
    from ledger_checks import CHECKS
    from ledger_plan import ROWS

    from edgecl.config import Config

    runs = json.loads((BENCH / "peers.json").read_text())["runs"]
    known = {(r["stream"], r["peer"], r["method"]) for r in runs}
    assert len({row.id for row in ROWS}) == len(ROWS)
    for row in ROWS:
        for options in filter(None, (row.options, row.against)):
            Config.make(options)
        assert row.peer is None or (row.stream, *row.peer) in known, row.id
        assert (row.claim == "invariant") == (row.check is not None and row.check in CHECKS)


def test_lines_of_the_ledger_are_rows_and_the_newest_of_an_id_counts(tmp_path, monkeypatch):
    import ledger

    from edgecl.report.ledger_rows import ledger_rows, verdict_of

    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.jsonl")
    for verdict in ("open", "reproduced"):
        ledger.append({"id": "a", "method": "er", "verdict": verdict})
    ledger.append({"id": "b", "method": "er", "verdict": "not reproduced"})
    assert ledger.newest()["a"]["verdict"] == "reproduced"
    rows = ledger_rows(tmp_path / "ledger.jsonl")
    assert verdict_of("er", rows) == "not reproduced 1, reproduced 1" and verdict_of("der", rows) == "not run"
    for line in (BENCH / "ledger.jsonl").read_text().splitlines():
        assert {"id", "method", "claim", "verdict", "why", "cost", "commit", "host", "date"} <= set(json.loads(line))
