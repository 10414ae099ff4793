"""Benches merge what was measured in pieces, and docs/performance.md is made of the committed results alone."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """bench(name): a module of the bench folder."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def test_rows_of_the_same_key_are_replaced_and_others_stay(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench/some.py", "--quick"])
    write, path = bench("common").write, tmp_path / "out" / "r.json"
    write("some", [{"net": "a", "ms": 1.0}, {"net": "b", "ms": 2.0}], str(path), key=("net",))
    write("some", [{"net": "b", "ms": 3.0}], str(path), key=("net",))
    record = json.loads(path.read_text())
    assert [(r["net"], r["ms"]) for r in record["rows"]] == [("a", 1.0), ("b", 3.0)]
    assert all(r["command"].endswith("--quick") and r["date"] for r in record["rows"])
    assert record["host"]["cores"] and record["versions"]["numpy"]


def test_turns_are_interleaved_and_counted_per_call(bench):
    order = []
    wall, cpu = bench("common").interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 1)
    assert len(wall["a"]) == len(cpu["b"]) == 3 and all(s > 0 for s in wall["a"])
    turns = [x for i, x in enumerate(order) if i == 0 or order[i - 1] != x]
    assert turns == ["a", "b"] * 4


def test_every_target_of_the_table_belongs_to_a_group_of_the_bench(bench):
    targets, groups = bench("targets").STEP_TARGETS, bench("step").groups().values()
    measured = {
        (g.net, g.batch, g.keep, g.isa, g.threads, d)
        for g in groups
        if g.peer == "torch" and g.allocation == "uniform"
        for d in g.densities
    }
    missing = {(*case, d) for case, by_density in targets.items() for d in by_density} - measured
    assert missing <= {(net, 16, 1.0, "", 2, 0.1) for net in ("cnn1d", "cnn", "ds_cnn")}


def test_the_page_shows_every_committed_step_and_judges_it(bench):
    performance = bench("performance")
    page = performance.page()
    for name in ("step", "layers", "memory", "sparseprop", "contention"):
        assert f"`bench/results/{name}.json` is absent" not in page
    for row in performance.load("step")["rows"]:
        if row["peer_kind"] == "torch" and row["threads"] > 1:
            assert f"**{row['ratio_median']:.2f}x**" in page


def test_a_figure_is_judged_by_its_floor_and_goal(bench):
    verdict = bench("performance").verdict
    assert [verdict(v, 2.0, 3.0) for v in (1.9, 2.0, 3.0)] == ["**below floor**", "floor", "goal"]
    assert [verdict(v, 100, 70, higher=False) for v in (101, 100, 70)] == ["**below floor**", "floor", "goal"]


def test_a_command_is_said_as_in_the_repository_s_folder(bench, tmp_path, monkeypatch):
    """Wherever it was started from; nobody else has the folders of the machine that ran it."""
    path = tmp_path / "r.json"
    monkeypatch.setattr(sys, "argv", [str(BENCH / "some.py"), "--plot", str(BENCH / "results" / "a.svg")])
    monkeypatch.chdir(tmp_path)
    bench("common").write("some", [{"ms": 1.0}], str(path))
    assert json.loads(path.read_text())["command"] == "python bench/some.py --plot bench/results/a.svg"


def test_no_committed_command_names_a_folder_of_somebody_s_machine():
    places = re.compile(r"(?:^|[\s='\"])(?:\.\./|/(?!dev/|sys/|proc/))")
    said = [(p.name, c) for p in (BENCH / "results").rglob("*.json") for c in commands(json.loads(p.read_text()))]
    assert len(said) > 100 and [(name, c) for name, c in said if places.search(c)] == []


def commands(found):
    """Every "command" of a record."""
    if isinstance(found, dict):
        own = [found["command"]] if isinstance(found.get("command"), str) else []
        return own + [c for v in found.values() for c in commands(v)]
    return [c for v in found for c in commands(v)] if isinstance(found, list) else []
