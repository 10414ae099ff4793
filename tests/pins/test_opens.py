"""What version 0.1.0 saved opens, goes on as it would have gone on, and can be repeated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import stories
from edgecl.storage import KeyFile, SampleStore

import edgecl
from edgecl.run import run

# Another instruction set adds in another order: the same within rounding.
CLOSE = {"rtol": 2e-3, "atol": 2e-4}


@pytest.mark.parametrize("name", ["learner", "learner_encrypted", "learner_in_ram"])
def test_a_saved_learner_opens_predicts_and_goes_on(name, pinned):
    expected = pinned(name)
    key = KeyFile("key") if name == "learner_encrypted" else None
    if name == "learner_in_ram":
        x = np.concatenate([stories.signals(u, 3, 7) for u in range(3)])
    else:
        x = np.concatenate([stories.samples(u, 3, 7) for u in range(6)])
    with edgecl.Learner.open("saved", root_key=key) as learner:
        assert list(learner.labels) == expected["labels"]
        assert {k: learner.counters[k] for k in expected["counters"]} == expected["counters"]
        np.testing.assert_allclose(learner.predict(x, proba=True), expected["opened"], **CLOSE)
        learner.learn(steps=7)
        np.testing.assert_allclose(learner.predict(x, proba=True), expected["later"], **CLOSE)


def test_a_saved_learner_forgets_and_trains_anew_without_a_subject(pinned):
    pinned("learner")
    with edgecl.Learner.open("saved") as learner:
        done = learner.retrain_without(4)
        assert done.start == "the end of task 2" and len(done.forgotten.ids) == 20
        assert learner.counters["stored"] == 100


@pytest.mark.parametrize("name", ["learner", "learner_encrypted"])
def test_a_store_opens_and_every_sample_reads_back(name, pinned):
    pinned(name)
    key = KeyFile("key") if name == "learner_encrypted" else None
    with SampleStore("store", root_key=key) as store:
        assert store.count == 120 and not store.verify()
        got = store.read(np.arange(120))
        assert got["ok"].all()
        for unit in range(6):
            np.testing.assert_array_equal(got["samples"][got["classes"] == unit], stories.samples(unit, 20))
            assert set(got["subjects"][got["classes"] == unit].tolist()) == {unit}


@pytest.mark.parametrize("name", ["run", "run_encrypted"])
def test_a_run_that_was_cut_short_is_resumed_to_the_end_it_would_have_had(name, pinned):
    expected = pinned(name)
    record = run({}, resume="out")
    assert record["status"] == {"finished": True, "reason": "completed", "resumed_from": 23}
    for figure in ("steps", "flops", "accuracy_matrix", "task_il_accuracy_matrix"):
        assert record[figure] == expected[figure], figure


def test_a_record_is_a_configuration_that_repeats_the_run(pinned):
    expected = pinned("run")
    old = json.loads(Path("out/run.json").read_text())
    shutil.rmtree("store")
    record = run({**old["config"], "out": "again"})
    assert record["steps"] == expected["steps"] and record["accuracy_matrix"] == expected["accuracy_matrix"]


def test_records_of_then_and_now_stand_side_by_side(pinned, capsys):
    from edgecl.cli import run_command_line

    expected = pinned("run")
    run({}, resume="out")
    Path("old.json").write_text(json.dumps(expected["record"]))
    assert run_command_line(["compare", "old.json", "out/run.json"]) == 0
    assert "der++" in capsys.readouterr().out
