"""Every method of ours by `run` and by a `Learner`: equal bits, resumed in the middle, learning what it can."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from small_runs import OURS, learned, options, same

from edgecl import checkpoint
from edgecl.methods import METHODS, make_method
from edgecl.methods.base import SCENARIOS
from edgecl.planning.run_plan import prepare
from edgecl.run import Run, run


@pytest.fixture(scope="session", autouse=True)
def own_cache(session_cache):
    pass


def parts_state(parts) -> dict:
    """What a method, its memory and the network hold."""
    return {
        "engine": parts.engine.state(),
        "method": parts.method.state(),
        "memory": None if parts.memory is None else parts.memory.state(),
        "random": parts.random.state(),
    }


@pytest.mark.parametrize("name", [n for n in OURS if n != "joint"])
def test_run_and_learner_give_the_same_bits(stream, name):
    given = options(name)
    with Run(prepare({**given, "stream": stream}), "test") as job:
        record = job.execute()
        by_run = parts_state(job.core.parts)
        flops = record["flops"]["full"]
    assert record["status"]["finished"]
    if name not in ("k-fpf", "lwf"):  # their phases skip what is frozen, which no density changes
        assert flops["dense"] == flops["executed"], "a dense run executes what the dense run would"
    with learned(stream, given) as learner:
        same(parts_state(learner.core.parts), by_run)


@pytest.mark.parametrize("name", OURS)
def test_a_run_stopped_in_mid_task_ends_as_if_never_stopped(stream, tmp_path, name):
    given = {**options(name), "stream": stream}
    run({**given, "out": str(tmp_path / "whole")})
    whole = checkpoint.load(tmp_path / "whole")
    steps = whole["trainer"]["steps"]
    for k, at in enumerate({steps * 2 // 3, steps - 2}):  # in the second task; in its last epoch, or a phase
        stop, out = threading.Event(), tmp_path / f"o{k}"
        record = run({**given, "out": str(out)}, listen=stopping_at(at, stop), stop=stop)
        assert record["status"]["reason"] == "interrupted" and record["steps"] == at
        assert run({}, resume=out)["status"]["finished"]
        same(without_clocks(checkpoint.load(out)["trainer"]), without_clocks(whole["trainer"]))


def stopping_at(step: int, stop: threading.Event):
    """A listener that ends a run after a step."""

    def listen(progress) -> None:
        if progress.step == step:
            stop.set()

    return listen


def without_clocks(trainer: dict) -> dict:
    return {k: v for k, v in trainer.items() if k not in ("store", "carousel")}


LEARNS = (
    "er", "er-ace", "der++", "x-der-lite", "mir", "gss", "rainbow", "icarl", "bic", "ncm", "ridge", "gdumb", "k-fpf",
)  # fmt: skip


@pytest.mark.parametrize("name", LEARNS)
def test_old_classes_are_kept_where_the_method_promises_it(stream, name):
    more = {"gdumb": {"memory_epochs": 30}, "k-fpf": {"steps": 40}}.get(name, {})
    record = run({**options(name, epochs=6, **more), "stream": stream})
    assert record["accuracy_matrix"][1][0] >= 0.75, record["accuracy_matrix"]
    assert np.mean(record["accuracy_matrix"][1]) >= 0.8


@pytest.mark.parametrize("name", OURS)
def test_an_average_of_the_weights_is_an_option_of_every_method_that_trains_the_network(stream, name):
    method = make_method(name, ema=0.9)
    if method.needs.predict_side is not None or method.needs.trains == "none":
        from edgecl.errors import BadInput

        with pytest.raises(BadInput, match="average"):
            prepare({**options(name, ema=0.9), "stream": stream})
        return
    with Run(prepare({**options(name, ema=0.9, epochs=1), "stream": stream}), "test") as job:
        job.execute()
        side = job.core.parts.engine.side("ema")
        assert not side.empty
        assert any(
            not np.array_equal(side[n].values, p.values) for n, p in job.core.parts.engine.model.parameters.items()
        )


def test_every_method_of_ours_says_what_it_is_for():
    for name in OURS:
        cls = METHODS.get(name)
        assert cls.scenarios and set(cls.scenarios) <= set(SCENARIOS), name
        assert cls.reference and cls.__doc__, name
