"""The open training benchmark: what a division fixes, what a result must hold."""

import copy
import json

import jsonschema
import pytest

from edgecl.bench import training
from edgecl.bench.training import SEEDS, TASKS, check_result, options_of, read_result, result_schema, summary
from edgecl.data.streams import STREAMS
from edgecl.errors import BadInput

FIGURES = {
    "average_accuracy": 0.8, "forgetting": 0.1, "train_seconds": 10.0, "seconds_per_sample": 0.001, "joules": None,
    "joules_source": "not modelled", "peak_rss_bytes": 50_000_000, "flash_bytes_written": 0,
}  # fmt: skip


def result(**changes):
    """A valid result of three seeds."""
    runs = [
        {"seed": s, "finished": True, "steps": 100, "samples_seen": 57_600, "conditions": {"before": {}, "after": {}},
         "figures": {**FIGURES, "average_accuracy": 0.8 + s / 100, "peak_rss_bytes": 50_000_000 + s}}
        for s in range(3)
    ]  # fmt: skip
    return {
        "schema": "edgecl.training/1", "task": "keyword", "division": "closed", "trial": False,
        "framework": "other 1.0", "command": "x", "date": "2026-01-01",
        "system": {"machine": "aarch64", "processors": 4},
        "stream": {"name": "keywords", "identity": "0", "train_samples": 5760, "test_samples": 1920, "synthetic": True},
        "network": "cnn1d", "method": "er", "memory_bytes": 1_000_000, "passes": 10, "options": {}, "runs": runs,
        "summary": summary([r["figures"] for r in runs]), **changes,
    }  # fmt: skip


def test_four_tasks_over_registered_streams():
    assert set(TASKS) == {"image", "inertial", "keyword", "glyph"}
    assert all(task.stream in STREAMS for task in TASKS.values())


def test_a_valid_result_satisfies_schema_and_rules_and_its_median_is_the_middle_seed():
    made = result()
    jsonschema.validate(made, result_schema())
    check_result(made)
    assert made["summary"]["average_accuracy"] == pytest.approx(0.81)
    assert made["summary"]["peak_rss_bytes"] == 50_000_001 and made["summary"]["joules"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"task": "video"}, {"schema": "edgecl.training/2"}, {"passes": 11}, {"network": "resnet18"}, {"runs": []},
        {"summary": {**FIGURES, "average_accuracy": 0.99}}, {"division": "ajar"}, {"system": {}}, {"memory_bytes": "1"},
        {"stream": {**result()["stream"], "name": "split-fashion"}},
    ],
    ids=lambda c: next(iter(c)),
)  # fmt: skip
def test_a_result_that_breaks_schema_or_rules_is_refused(change):
    with pytest.raises(BadInput) as error:
        check_result(result(**change))
    assert error.value.remedy


@pytest.mark.parametrize("fault", ["missing key", "same seed", "two runs", "unfinished", "nan"])
def test_runs_that_do_not_count_are_refused(fault):
    made = copy.deepcopy(result())
    if fault == "missing key":
        del made["runs"][1]["figures"]["joules_source"]
    elif fault == "same seed":
        made["runs"][1]["seed"] = 0
    elif fault == "two runs":
        made["runs"].pop()
    elif fault == "unfinished":
        made["runs"][2]["finished"] = False
    else:
        made["runs"][0]["figures"]["train_seconds"] = float("nan")
    made["summary"] = summary([r["figures"] for r in made["runs"]]) if fault in ("two runs",) else made["summary"]
    with pytest.raises(BadInput):
        check_result(made)


def test_the_open_division_may_use_another_network():
    check_result(result(division="open", network="resnet18"))


@pytest.mark.parametrize(
    "division, name",
    [("closed", "network"), ("closed", "epochs"), ("open", "epochs"), ("open", "limit_train"), ("closed", "seed")],
)
def test_what_the_division_fixes_cannot_be_set(division, name):
    with pytest.raises(BadInput, match=name):
        options_of("keyword", division, {name: "1"}, False)


def test_a_former_name_is_fixed_as_its_present_one():
    with pytest.raises(BadInput, match="'network'"):
        options_of("keyword", "closed", {"model": "mlp"}, False)


def test_what_it_leaves_open_can():
    assert options_of("keyword", "closed", {"sparsity": "0.9"}, False)["sparsity"] == "0.9"
    assert options_of("image", "open", {"network": "resnet20"}, True)["limit_train"] == TASKS["image"].quick
    with pytest.raises(BadInput):
        options_of("keyword", "closed", {"sparcity": "0.9"}, False)


def test_a_task_runs_from_end_to_end_and_its_file_is_read_back(stream, tmp_path, monkeypatch):
    """The machinery on the tests' own stream: a trial is not a result, and says so."""
    monkeypatch.setitem(TASKS, "image", training.TrainingTask(stream, "mlp", 16, 2, 24, 40))
    monkeypatch.setattr(training, "fetch_stream_data", lambda name: None)
    made = training.run_task("image", 1, "closed", {"lr": "0.05"}, False, "edgecl bench training")
    assert made["trial"] and len(made["runs"]) == 1 < SEEDS
    jsonschema.validate(made, result_schema())
    file = tmp_path / "r.json"
    file.write_text(json.dumps(made))
    assert read_result(file) == made
    head, rows = training.table(made)
    assert len(rows) == 2 and len(head) == len(rows[0])


def test_every_seed_has_a_store_of_its_own_and_none_is_left(stream, tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "image", training.TrainingTask(stream, "mlp", 16, 2, 24, 40))
    monkeypatch.setattr(training, "fetch_stream_data", lambda name: None)
    made = training.run_task("image", 2, "closed", {"gate": "all"}, False, "x", store=tmp_path / "below")
    assert made["store"] and "store" not in made["options"] and list((tmp_path / "below").iterdir()) == []
    samples = made["stream"]["train_samples"]
    assert all(run["figures"]["flash_bytes_written"] > samples for run in made["runs"])
    check_result(made)
    with pytest.raises(BadInput, match="store"):
        options_of("image", "closed", {"gate": "all"}, False)


def test_an_unreadable_file_is_refused(tmp_path):
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(BadInput, match="not a readable result"):
        read_result(tmp_path / "r.json")
