"""Every table of a bench says what its machine gives at most, and figures of two machines are never combined."""

import ast
import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
ELSEWHERE = {"base.py", "against_base.py", "store_million.py", "teach_class.py"}  # children: they print to their bench
TIMES = ("performance.md", "store.md", "carousel.md", "ablation.md", "training_benchmark.md")  # pages that print times


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("common")


def calls(path: Path) -> set[str]:
    """Names of the functions that a file calls."""
    names = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
    return {f.id if isinstance(f, ast.Name) else f.attr for f in names if isinstance(f, (ast.Name, ast.Attribute))}


def test_every_bench_that_writes_a_result_writes_it_in_the_one_way():
    """So that its machine and that machine's ceilings stand in it (the next test)."""
    with_option = [p for p in sorted(BENCH.glob("*.py")) if "--json" in p.read_text() and p.name not in ELSEWHERE]
    pages = {"common.py", "performance.py", "ledger_plan.py"}  # the one way itself, and what only reads results
    by_command = {p.name for p in with_option if "edgecl bench" in p.read_text() and "--json" not in p.read_text()}
    missing = [p.name for p in with_option if p.name not in pages | by_command and "write" not in calls(p)]
    assert len(with_option) > 30 and missing == []


def test_a_result_holds_its_machine_and_the_ceilings_of_it(common, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench/some.py"])
    common.write("some", [{"net": "a", "ms": 1.0}], str(tmp_path / "r.json"))
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["host"] == common.host() and set(found["ceilings"]) == set(common.LEVELS)
    assert found["ceilings"]["fma"] > found["ceilings"]["dram"] > 1e8
    assert "FMA" in common.host_line(found) and "memory" in common.host_line(found)


def test_rows_of_another_machine_keep_its_name_and_ceilings(common, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench/some.py"])
    path = tmp_path / "r.json"
    there = {"cpu": "another", "cores": 64, "machine": "x86_64", "system": "Linux"}
    path.write_text(json.dumps({"host": there, "ceilings": {"fma": 1e12}, "rows": [{"net": "a"}, {"net": "b"}]}))
    common.write("some", [{"net": "b", "ms": 1.0}], str(path), key=("net",))
    old, new = json.loads(path.read_text())["rows"]
    assert (old["net"], old["host"], old["ceilings"]) == ("a", there, {"fma": 1e12})
    assert "host" not in new


def test_rooflines_of_one_machine_are_not_set_beside_steps_of_another(common, tmp_path, monkeypatch):
    performance = importlib.import_module("performance")
    for name, cpu in (("step", "one"), ("layers", "two")):
        rows = [{"net": "x"}, {"net": "y", "host": {"cpu": "one"}}]
        (tmp_path / f"{name}.json").write_text(json.dumps({"host": {"cpu": cpu}, "rows": rows}))
    monkeypatch.setattr(performance, "RESULTS", tmp_path)
    assert [r["net"] for r in performance.beside("step", "layers")] == ["y"]


@pytest.mark.parametrize("name", TIMES)
def test_pages_with_times_print_the_ceilings_of_their_machines(name):
    assert "eilings of" in (ROOT / "docs" / name).read_text()


def test_every_section_of_the_performance_page_does(common):
    page = importlib.import_module("performance").page()
    sections = page.split("\n## ")[1:]
    assert sections and all("eilings of" in text for text in sections if "Not measured yet" not in text)


def test_the_product_s_own_benches_record_them_too():
    from edgecl.bench.measure import ceilings_line, record

    measured = record("some", "command", [], "none", {"after": {}})
    assert all(measured["ceilings"][what]["1"] > 1e8 for what in ("product_flops_per_s", "copy_bytes_per_s"))
    assert "GFLOP/s" in ceilings_line(measured["ceilings"])
    assert record("some", "command", [], "none", None)["ceilings"] is None  # modelled: nothing ran here
