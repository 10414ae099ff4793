"""The campaign of the planner: what its candidates are, and how a cell of it is judged."""

import importlib
import json
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
CHOSEN, OTHER = (16, 500, "bfloat16"), (8, 500, "float32")


@pytest.fixture
def planner(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("planner")


def runs(accuracies):
    """{key: row} of runs by choice and seed; None: not run."""
    return {
        ("s", *choice, seed): {"accuracy": a}
        for choice, found in accuracies.items() for seed, a in enumerate(found) if a is not None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "other", "verdict"),
    [
        ((0.80, 0.82, 0.81), (0.70, 0.71, 0.72), "holds"),
        ((0.80, 0.82, 0.81), (0.805, 0.825, 0.82), "holds"),  # within a point
        ((0.80, 0.82, 0.81), (0.83, 0.84, 0.84), "fails"),
        ((0.80, 0.82, 0.81), (0.70, None, 0.72), "missing"),
        ((0.80, None, 0.81), (0.70, 0.71, 0.72), "missing"),
    ],
)
def test_a_cell_holds_within_a_point_of_the_best_and_says_what_is_missing(planner, chosen, other, verdict):
    row = planner.judged("s", "80MB", {CHOSEN: {}, OTHER: {}}, runs({CHOSEN: chosen, OTHER: other}))
    assert row["verdict"] == verdict
    assert row["missing"] == sum(a is None for a in (*chosen, *other))


def test_candidates_begin_with_the_planner_s_own_and_are_few(planner):
    found = planner.candidates("hapt-activities", "64MB")
    assert 2 <= len(found) <= planner.MOST
    assert next(iter(found.values()))["given"] == {}
    assert len({choice[0] for choice in found}) > 1 and len({choice[1] for choice in found}) > 1
    assert not any(planner.is_less(a, b) for a in list(found)[1:] for b in found)


def test_a_plan_that_leaves_ram_unused_is_no_candidate(planner):
    assert planner.is_less((8, 500, "float32"), (16, 500, "float32"))
    assert planner.is_less((16, 500, "bfloat16"), (16, 500, "float32"))
    assert not planner.is_less((32, 177, "bfloat16"), (16, 500, "float32"))
    assert not planner.is_less((16, 500, "float32"), (16, 500, "float32"))


def test_the_campaign_has_four_budgets_of_two_streams(planner):
    assert len(planner.STREAMS) == 2 and all(len(set(b)) == 4 for b in planner.BUDGETS.values())
    assert len(planner.SEEDS) == 3


def test_the_committed_cells_follow_from_the_committed_runs(planner):
    record = json.loads((BENCH / "results" / "planner.json").read_text())
    there = {tuple(r[k] for k in planner.KEY): r for r in record["rows"]}
    cells = {(c["stream"], c["ram"]): c for c in record["cells"]}
    assert set(cells) == {(stream, ram) for stream, budgets in planner.BUDGETS.items() for ram in budgets}
    for (stream, ram), cell in cells.items():
        again = planner.judged(stream, ram, {tuple(plan): {} for plan in cell["plans"]}, there)
        assert again == cell
