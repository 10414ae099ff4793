"""Near its RAM budget a run first gives back what no result depends on, and ends in order when that is not
enough."""

from __future__ import annotations

import contextlib
import gc

import jsonschema
import numpy as np
import pytest
from test_learner import NAMES, learner, samples
from test_run import facts, same_state

from edgecl import Budget, Learner, checkpoint
from edgecl.budget import resident
from edgecl.give_back import give_back
from edgecl.planning.run_plan import prepare
from edgecl.report.record import record_schema
from edgecl.run import run

ROOM = 30_000_000  # between the plan and the point at which a run sheds
TOO_MUCH = 60_000_000


@pytest.fixture(autouse=True)
def heap_of_its_own():
    """What earlier tests left in the heap is given back first, not while a test measures."""
    gc.collect()
    give_back()


class Ballast:
    """Resident bytes; with ``loose`` nobody holds them, but only the garbage collector can tell."""

    def __init__(self, size: int, loose: bool) -> None:
        self.bytes = np.ones(size, np.uint8)
        self.me = self
        self.held = None if loose else self


@contextlib.contextmanager
def no_automatic_collection():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def budget_of(options: dict) -> int:
    """RAM that the plan of a run fits into, with ROOM to spare, for the process as it is."""
    prepared = prepare(options)
    prepared.stream.close()
    return int((prepared.plan.peak_bytes + ROOM) / 0.95)


@pytest.mark.parametrize("store", [False, True], ids=["RAM", "carousel"])
def test_a_run_that_can_give_back_enough_goes_on_with_the_same_bits(options, tmp_path, store):
    states, records = [], []
    for name in ("calm", "near"):
        given = {**options, "out": str(tmp_path / name)}
        if store:
            given["store"] = str(tmp_path / f"s-{name}")

        def listen(progress, name=name):
            if name == "near" and progress.step == 70:
                Ballast(TOO_MUCH, loose=True)

        with no_automatic_collection():
            ram = budget_of(given)
            records.append(run({**given, "ram": ram}, listen=listen))
        states.append(checkpoint.load(tmp_path / name)["trainer"])
    calm, near = records
    assert calm["warnings"] == [] and near["status"]["finished"]
    assert [w for w in near["warnings"] if "near its budget at step 70" in w]
    assert near["accuracy_matrix"] == calm["accuracy_matrix"]
    assert [d for d in near["carousel"]["decisions"] if d[2] == "shed"] == [[70, -1, "shed"]]
    states[1]["decisions"].remove([70, -1, "shed"])
    same_state(*states)


def test_a_run_that_cannot_ends_in_order_and_can_be_resumed(options, tmp_path):
    given = {**options, "store": str(tmp_path / "s"), "out": str(tmp_path / "o")}
    held = []

    def listen(progress):
        if progress.step == 70:
            held.append(Ballast(TOO_MUCH, loose=False))

    ram = budget_of(given)
    record = run({**given, "ram": ram}, listen=listen)
    assert record["status"]["reason"].startswith("budget reached: RAM") and record["steps"] == 70
    jsonschema.validate(record, record_schema())
    held.clear()
    gc.collect()
    finished = run({"ram": ram + TOO_MUCH}, resume=tmp_path / "o")
    whole = run({**options, "store": str(tmp_path / "s2")})
    assert finished["accuracy_matrix"] == whole["accuracy_matrix"]
    assert facts(finished)["metrics"] == facts(whole)["metrics"] and finished["steps"] == whole["steps"]


def long_task(tmp_path, name: str) -> Learner:
    """A learner most of whose task lies on flash, with ROOM over its plan."""
    given = {"method": "er", "buffer": 3, "store": str(tmp_path / name), "path": str(tmp_path / f"p-{name}")}
    with learner(**{**given, "store": str(tmp_path / "probe")}) as probe:
        growth = probe.plan.growth_bytes
    ours = learner(**given, budget=Budget(ram=int((growth + ROOM) / 0.95)))
    x, y = samples((0, 1))
    ours.observe(x, [NAMES[k] for k in y])
    return ours


def test_a_learner_gives_up_read_ahead_first_and_learns_the_same(tmp_path):
    states = []
    for name in ("calm", "near"):
        with no_automatic_collection(), long_task(tmp_path, name) as ours:
            ours.learn(epochs=1)
            direct = []
            store, read = ours.core.parts.store, ours.core.parts.store.read
            store.read = lambda *a, **k: direct.append(a) or read(*a, **k)  # noqa: B023
            if name == "near":
                Ballast(TOO_MUCH, loose=True)
            log = ours.learn(epochs=3)
            assert log.stopped is None and bool(log.warnings) == (name == "near"), log
            assert len(direct) == (log.steps if name == "near" else log.epochs)
            states.append(ours.life.state()["trainer"])
    for state in states:
        state["decisions"] = [d for d in state["decisions"] if d[2] != "shed"]
        del state["carousel"]["time"]  # of the samples' arrival
    same_state(*states)


def test_a_learner_that_cannot_stops_with_its_state_saved(tmp_path):
    with long_task(tmp_path, "a") as ours:
        ours.learn(epochs=1)
        held = Ballast(TOO_MUCH, loose=False)
        log = ours.learn(epochs=3)
        assert log.steps == 0 and "budget reached: RAM" in log.stopped and log.warnings
        steps = ours.counters["steps"]
    del held
    with Learner.open(tmp_path / "p-a") as again:
        assert again.counters["steps"] == steps
        assert again.learn(epochs=1).stopped is None


def test_holes_in_the_heap_are_given_back():
    blocks = [bytes(3000) for _ in range(20_000)]
    kept = blocks[::100]
    full = resident()
    del blocks
    give_back()
    assert full - resident() > 30_000_000 and len(kept) == 200
