"""Records say whether a run learns at all: replay, classes, loss by term, recall, old tasks against chance."""

from __future__ import annotations

import threading

import jsonschema
import numpy as np
import pytest

from edgecl.report.record import record_schema
from edgecl.report.table import run_table
from edgecl.run import run


@pytest.fixture
def small(options):
    return {**options, "epochs": 3}


def test_a_replaying_run_is_healthy(small):
    record = run({**small, "method": "er", "epochs": 8})
    health = record["health"]
    jsonschema.validate(record, record_schema())
    assert health["off"] == [] and health["never_predicted"] == []
    assert health["replay_share"] == pytest.approx(1 - 1 / record["steps"], abs=1e-9), "all but the first step"
    assert health["classes_in_memory"] == 4 and set(health["loss"]) == {"current", "replay"}
    assert health["gradient_norm"] > 0 and health["chance"] == 0.25
    sizes = [task_size for task_size in (24, 24)]
    mean = np.average(record["accuracy_matrix"][-1], weights=sizes)
    assert health["balanced_accuracy"] == pytest.approx(mean), "classes have equal shares here"
    assert np.mean(list(health["recall"].values())) == pytest.approx(health["balanced_accuracy"])
    assert health["old_task_accuracy"] == record["accuracy_matrix"][-1][0]


def test_a_method_that_keeps_nothing_where_it_promised_to_is_named(small):
    record = run({**small, "method": "a-gem", "epochs": 6})
    assert record["health"]["old_task_accuracy"] <= 0.25
    assert any("chance" in line for line in record["health"]["off"])
    assert any("never predicted" in line for line in record["health"]["off"])
    assert "health: old tasks are at chance" in run_table(record)
    assert run({**small, "method": "naive", "epochs": 6})["health"]["off"] == [], "it promises nothing"


def test_a_resumed_run_counts_on(small, tmp_path):
    given = {**small, "method": "er"}
    whole, stop = run(given), threading.Event()
    run({**given, "out": str(tmp_path)}, listen=lambda p: p.step == 20 and stop.set(), stop=stop)
    assert run({}, resume=tmp_path)["health"] == whole["health"]


@pytest.mark.parametrize(("name", "warned"), [("lwf", True), ("er", False), ("naive", False)])
def test_a_run_says_when_its_stream_is_not_what_the_method_is_for(options, name, warned):
    record = run({**options, "method": name, "epochs": 1})
    assert any("is meant for" in w for w in record["warnings"]) == warned
