"""A run: learns, repeats bit for bit, keeps to its budgets, ends in order."""

from __future__ import annotations

import threading
from importlib import resources

import jsonschema
import numpy as np
import pytest

from edgecl import checkpoint
from edgecl.errors import BadInput, InfeasibleBudget
from edgecl.planning.run_plan import prepare
from edgecl.report.record import read_record, record_schema
from edgecl.run import Run, run

CLOCKS = ("seconds", "memory", "host", "command")


def facts(record: dict) -> dict:
    """The record without what a clock, the allocator or the flash's history decide."""
    kept = {k: v for k, v in record.items() if k not in CLOCKS}
    kept["config"] = {k: v for k, v in record["config"].items() if k not in ("out", "store")}
    kept["plan"] = {k: v for k, v in record["plan"].items() if "bytes" not in k}
    kept["history"] = {k: v for k, v in record["history"].items() if k not in ("seconds", "resident_bytes")}
    kept["device"] = None
    kept["status"] = {k: v for k, v in record["status"].items() if k != "resumed_from"}
    physical = ("stall_seconds", "flash_bytes", "bytes_written", "bytes_read")
    kept["carousel"] = {k: v for k, v in record["carousel"].items() if k not in physical}
    return kept


def same_state(a, b, place="state"):
    """Asserts two saved states equal bit for bit, but for clocks."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            if key not in ("train_seconds", "counters"):
                same_state(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for n, (one, other) in enumerate(zip(a, b, strict=True)):
            same_state(one, other, f"{place}/{n}")
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=place)
    else:
        assert a == b, place


def test_replay_beats_naive_and_joint_beats_both_or_ties(options):
    scores = {m: run({**options, "method": m})["metrics"]["average_accuracy"] for m in ("naive", "er", "joint")}
    assert scores["naive"] <= 0.6 < 0.85 <= scores["er"]
    assert scores["joint"] >= 0.95


def test_the_record_satisfies_its_schema_and_is_a_valid_configuration(options, tmp_path):
    record = run({**options, "out": str(tmp_path / "a"), "sparsity": 0.5, "gradient_keep": 0.8, "remove": 0.3})
    jsonschema.validate(record, record_schema())
    assert read_record(tmp_path / "a" / "run.json") == record
    again = run({**record["config"], "out": str(tmp_path / "b")})
    assert facts(again) == facts(record)


def test_same_seed_same_bits_and_another_seed_others(options, tmp_path):
    states = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(
            {
                **options,
                "seed": seed,
                "sparsity": 0.9,
                "store": str(tmp_path / f"s{name}"),
                "out": str(tmp_path / name),
            }
        )
        states.append(checkpoint.load(tmp_path / name))
    same_state(states[0]["trainer"], states[1]["trainer"])
    values = [next(v for k, v in s["trainer"]["engine"].items() if k.endswith("/values")) for s in states]
    assert values[0].shape != values[2].shape or not np.array_equal(values[0], values[2])


def test_a_second_run_in_the_same_store_repeats_the_first(options, tmp_path):
    given = {**options, "store": str(tmp_path / "s")}
    first, second = run(given), run(given)
    assert second["carousel"]["samples_stored"] == first["carousel"]["samples_stored"]
    assert {**facts(second), "warnings": None} == {**facts(first), "warnings": None}
    assert "earlier run" in second["warnings"][0]


def test_a_flop_budget_is_never_crossed_and_ends_in_order(options, tmp_path):
    whole = run(options)["flops"]["full"]["executed"]
    record = run({**options, "flops": whole // 2, "out": str(tmp_path)})
    assert whole // 4 < record["flops"]["full"]["executed"] <= whole // 2
    assert not record["status"]["finished"] and "FLOPs" in record["status"]["reason"]
    assert record["accuracy_matrix"][0][0] is not None
    finished = run({"flops": 10 * whole}, resume=tmp_path)
    assert finished["status"]["finished"] and finished["flops"]["full"]["executed"] == whole


def test_seconds_and_energy_end_a_run(options):
    assert "seconds" in run({**options, "seconds": 1e-9})["status"]["reason"]
    reason = run({**options, "energy": 1.0, "device": "rpi_4b"})["status"]["reason"]
    assert "energy" in reason and "modelled" in reason


def test_joules_that_nothing_can_count_are_refused(options, tmp_path):
    with pytest.raises(BadInput, match="no device profile") as refused:
        run({**options, "energy": 5})
    assert "--device" in refused.value.remedy
    # a device whose power nobody knows, as this host: the shipped profile without its section
    shipped = resources.files("edgecl.device_profiles").joinpath("rpi_4b.toml").read_text()
    section = shipped.index("[power]")
    rest = shipped.find("\n[", section)
    (tmp_path / "unknown.toml").write_text(shipped[:section] + (shipped[rest:] if rest > 0 else ""))
    with pytest.raises(BadInput, match="no power figures"):
        run({**options, "energy": 5, "device": str(tmp_path / "unknown.toml")})


def test_an_impossible_ram_budget_is_refused_with_the_nearest_that_would_do(options):
    with pytest.raises(InfeasibleBudget) as refused:
        run({**options, "ram": "1KB"})
    assert "interpreter" in refused.value.cause and "--ram" in refused.value.remedy


def test_a_run_that_could_not_be_made_leaves_its_store_for_another_try(options, tmp_path):
    given = {**options, "epochs": 1, "store": str(tmp_path / "s")}
    with pytest.raises(BadInput):
        run({**given, "governor_log": "/nowhere"})
    assert run(given)["status"]["reason"] == "completed"


@pytest.mark.parametrize("more", [{}, {"activations": "bfloat16", "network": "cnn"}], ids=str)
def test_the_stop_event_ends_a_run_that_can_be_resumed(options, tmp_path, more):
    options = {**options, **more}
    given = {**options, "store": str(tmp_path / "s"), "out": str(tmp_path / "o")}
    stop = threading.Event()

    def listen(progress):
        if progress.step == 17:
            stop.set()

    record = run(given, listen=listen, stop=stop)
    assert record["status"]["reason"] == "interrupted" and record["steps"] == 17
    jsonschema.validate(record, record_schema())
    (tmp_path / "s").rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(BadInput, match="store of this run is not in"):
            run({}, resume=tmp_path / "o")
        (tmp_path / "s").mkdir(exist_ok=True)  # as when its card is not mounted
    run({**options, "store": str(tmp_path / "s")})
    with pytest.raises(BadInput, match="not the store"):
        run({}, resume=tmp_path / "o")
    (tmp_path / "s").rename(tmp_path / "another")
    (tmp_path / "moved").rename(tmp_path / "s")
    finished = run({}, resume=tmp_path / "o")
    whole = run({**options, "store": str(tmp_path / "s2")})
    assert finished["status"]["resumed_from"] == 17
    assert facts(finished) == facts(whole)


def test_a_loss_that_is_not_finite_returns_to_the_saved_state(options, tmp_path):
    record = run({**options, "lr": 1e30, "out": str(tmp_path)})
    assert "not finite" in record["status"]["reason"] and "returned to the state" in record["status"]["reason"]
    saved = checkpoint.load(tmp_path)
    assert all(np.isfinite(v).all() for k, v in saved["trainer"]["engine"].items() if k.endswith("values"))


def poisoned(options, step: int, before=lambda: None) -> dict:
    """The record of a run whose network gives NaN once it has done ``step`` steps; ``before`` is called
    then."""
    with Run(prepare(options), "test") as job:
        forward = job.core.parts.engine.forward

        def broken(*args, **kwargs):
            outs = forward(*args, **kwargs)
            if job.core.trainer.steps == step:
                before()
                outs["logits"][:] = np.nan
            return outs

        job.core.parts.engine.forward = broken
        return job.execute()


def test_after_a_loss_that_is_not_finite_the_record_is_that_of_the_saved_state(options, tmp_path):
    given = {**options, "epochs": 11, "checkpoint_every": 7, "sparsity": 0.5, "remove": 0.3}
    whole = run({**given, "store": str(tmp_path / "s0"), "out": str(tmp_path / "o0")})
    step = whole["steps"] * 3 // 4  # in the second task
    back = step // 7 * 7
    record = poisoned({**given, "store": str(tmp_path / "s1"), "out": str(tmp_path / "o1")}, step)
    assert f"at step {step}; returned to the state saved at step {back}." in record["status"]["reason"]

    # a run stopped at that very step
    stop = threading.Event()
    given = {**given, "store": str(tmp_path / "s2"), "out": str(tmp_path / "o2")}
    with Run(prepare(given), "test", lambda p: stop.set() if p.step == back else None, stop) as job:
        ended = facts(job.execute())
        job.evaluate(1)
        matrices = {"accuracy_matrix": job.evaluations.class_il, "task_il_accuracy_matrix": job.evaluations.task_il}
    assert ended["steps"] == back < step
    rest = ("status", "metrics", "confusion")
    for facts_of in (record, ended):  # the stopped run had not tested its second task
        for key in ("old_task_accuracy", "chance", "recall", "balanced_accuracy", "never_predicted"):
            facts_of["health"].pop(key)
    same = {k: v for k, v in {**ended, **matrices}.items() if k not in rest}
    assert {k: v for k, v in facts(record).items() if k not in rest} == same
    assert record["metrics"]["average_accuracy"] == pytest.approx(np.mean(job.evaluations.class_il[1]))
    same_state(*(checkpoint.load(tmp_path / o)["trainer"] for o in ("o1", "o2")))


def test_when_only_the_state_before_the_task_is_sound_its_figures_are_the_record(options, tmp_path):
    steps = run(options)["steps"] // 2  # of the first task

    def damage_newest():
        newest = max((tmp_path / "o").glob("checkpoint-*"), key=checkpoint._generation)
        newest.write_bytes(newest.read_bytes()[:-9])

    given = {**options, "out": str(tmp_path / "o"), "store": str(tmp_path / "s")}
    record = poisoned(given, steps + 3, damage_newest)
    assert f"returned to the state saved at step {steps}." in record["status"]["reason"]
    assert len(record["accuracy_matrix"]) == 1 and record["steps"] == steps
    assert record["carousel"]["samples_stored"] == record["stream"]["train_samples"] // 2


def test_a_run_resumed_after_its_budget_has_one_row_a_task(options, tmp_path):
    whole = run(options)
    spent = whole["flops"]["full"]["executed"]
    first = run({**options, "flops": spent // 3, "out": str(tmp_path)})
    assert len(first["accuracy_matrix"]) == 1 and not first["status"]["finished"]
    assert facts(run({"flops": 2 * spent}, resume=tmp_path))["accuracy_matrix"] == whole["accuracy_matrix"]


def test_executed_flops_equal_a_hand_count(options):
    """mlp without sparsity: every living weight once forward, twice backward but for the first layer's
    input."""
    record = run({**options, "method": "naive", "epochs": 1})
    from edgecl.graph.builders import build

    graph = build("mlp", (1, 12, 12), 4)
    sizes = [p.size for p in graph.parameters.values() if p.role == "weight"]
    samples = record["stream"]["train_samples"]
    assert record["flops"]["full"]["executed"] == samples * (2 * 3 * sum(sizes) - 2 * sizes[0])
    assert record["flops"]["full"]["dense"] == record["flops"]["full"]["executed"]


def test_dense_flops_do_not_depend_on_sparsity_and_removal(options):
    dense = run(options)["flops"]
    sparse = run({**options, "sparsity": 0.9, "gradient_keep": 0.8, "remove": 0.3})["flops"]
    assert dense["full"]["dense"] == dense["full"]["executed"] == sparse["full"]["dense"]
    assert dense["sparcl_convention"]["dense"] == sparse["sparcl_convention"]["dense"]
    assert sparse["full"]["executed"] < 0.35 * dense["full"]["executed"]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"stream": "split-mnist"}, "split-mnist5k"),
        ({"network": "resnet"}, "resnet"),
        ({"network": "cnn1d"}, "shape"),
        ({"epochs": 1, "remove": 0.3}, "remov"),
        ({"memory": 0}, "memory"),
        ({"gate": "all"}, "store"),
    ],
)
def test_mistakes_are_named(options, bad, word):
    with pytest.raises(BadInput) as refused:
        run({**options, **bad})
    assert word in str(refused.value)
