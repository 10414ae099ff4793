"""The run record: its schema, the light check, and what is refused."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest

from edgecl.errors import BadInput
from edgecl.report.page import record_in, run_page
from edgecl.report.record import check_record, read_record, record_schema, write_record
from edgecl.report.table import comparison, plain_table, run_table

RECORD = {
    "schema": "edgecl.run/1",
    "version": "0.1.0",
    "command": "edgecl run",
    "host": {"machine": "x", "processors": 2, "python": "3", "numpy": "2", "instruction_set": "avx2"},
    "config": {"stream": "s", "network": "cnn", "method": "er", "seed": 0, "sparsity": 0.9},
    "status": {"finished": True, "reason": "completed", "resumed_from": None},
    "stream": {
        "name": "s",
        "identity": "0",
        "labels": [0, "b"],
        "tasks": [{"name": "0", "classes": [0]}, {"name": "b", "classes": [1]}],
        "train_samples": 2,
        "test_samples": 2,
    },
    "accuracy_matrix": [[1.0, None], [0.5, 0.75]],
    "task_il_accuracy_matrix": [[1.0, None], [1.0, 1.0]],
    "metrics": {
        "average_accuracy": 0.625,
        "average_incremental_accuracy": 0.8125,
        "forgetting": 0.5,
        "backward_transfer": -0.5,
        "task_il_average_accuracy": 1.0,
    },
    "steps": 10,
    "flops": {
        "full": {"dense": 100, "executed": 10},
        "sparcl_convention": {"dense": 60, "executed": 6},
        "overhead": 1,
    },
    "seconds": {"train": 1.5, "total": 2.0},
    "memory": {
        "budget_bytes": None,
        "baseline_bytes": 40_000_000,
        "planned_peak_rss_bytes": 60_000_000,
        "measured_peak_rss_bytes": 59_000_000,
        "arena_bytes": 10_000_000,
    },
    "carousel": {
        "samples_stored": 0,
        "flash_bytes": 0,
        "bytes_written": 0,
        "bytes_read": 0,
        "swaps_requested": 0,
        "swaps_done": 0,
        "swaps_dropped": 0,
        "stall_seconds": 0.0,
    },
    "device": {
        "profile": None,
        "step_seconds": {"value": 0.15, "source": "measured"},
        "energy_joules": {"value": None, "source": "not modelled: no device profile"},
    },
    "plan": {},
    "warnings": ["w"],
}


def test_the_schema_is_a_schema_and_accepts_a_record():
    jsonschema.Draft202012Validator.check_schema(record_schema())
    jsonschema.validate(RECORD, record_schema())
    check_record(RECORD)


def paths(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths(item, (*path, key))


def test_the_light_check_finds_every_missing_key_that_the_schema_requires():
    missed = []
    for path in paths(RECORD):
        record = copy.deepcopy(RECORD)
        inner = record
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        strict = not jsonschema.Draft202012Validator(record_schema()).is_valid(record)
        try:
            check_record(record)
            light = False
        except BadInput:
            light = True
        if strict != light:
            missed.append(path)
    assert missed == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steps",), 1.5),
        (("steps",), True),
        (("status", "finished"), "yes"),
        (("metrics", "forgetting"), float("nan")),
        (("accuracy_matrix",), [[0.5, "x"]]),
        (("warnings",), [1]),
    ],
)
def test_wrong_types_and_nan_are_refused_with_their_place(path, value):
    record = copy.deepcopy(RECORD)
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(BadInput, match=path[-1]):
        check_record(record)


def test_a_record_survives_the_disk_and_rubbish_is_refused(tmp_path):
    write_record(tmp_path / "r.json", RECORD)
    assert read_record(tmp_path / "r.json") == RECORD
    for rubbish in ("", "[]", "{}", json.dumps({**RECORD, "steps": "many"})):
        (tmp_path / "bad.json").write_text(rubbish)
        with pytest.raises(BadInput):
            read_record(tmp_path / "bad.json")


def test_tables_show_what_people_look_for():
    assert "0.625" in run_table(RECORD) and "warning: w" in run_table(RECORD)
    both = plain_table(*comparison([("a/run.json", RECORD), ("b/run.json", RECORD)]))
    assert "10.0%" in both and both.splitlines()[0].split() == ["a", "b"]
    assert plain_table(["a", "bb"], []).splitlines()[0] == "a  bb"


def test_the_page_holds_the_record_and_asks_nobody_for_anything(tmp_path):
    evil = {**RECORD, "command": "edgecl run --out '</script><script>alert(1)</script>'"}
    text = run_page(evil)
    (tmp_path / "report.html").write_text(text)
    assert record_in(tmp_path / "report.html") == evil
    assert "<script>alert" not in text and "http://" not in text.split("uPlot=function")[0]
    assert "src=" not in text and "@import" not in text and "url(" not in text
    (tmp_path / "other.html").write_text("<html></html>")
    with pytest.raises(BadInput, match="no page of a run"):
        record_in(tmp_path / "other.html")


def test_a_long_stream_gets_a_line_per_task_instead_of_a_matrix_wider_than_a_terminal():
    tasks = [{**RECORD["stream"]["tasks"][0], "name": f"script {i}"} for i in range(23)]
    matrix = [[(j + 1) / 100 + i / 1000 if j <= i else None for j in range(23)] for i in range(23)]
    long = {**RECORD, "stream": {**RECORD["stream"], "tasks": tasks}, "accuracy_matrix": matrix}
    table = run_table(long)
    assert max(map(len, table.splitlines())) <= 100
    line = next(x for x in table.splitlines() if x.startswith("script 2 "))
    assert line.split()[2:] == ["0.032", "0.052", "0.022"]
