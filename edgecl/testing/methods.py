"""check_method: does a continual-learning method keep the contract? Run it in the tests of your own method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError
from ..methods import METHODS, Method, Needs
from ..planning.configured import needs_tasks
from ..registry import CONTRACT, contract_of
from .method_run import Setting
from .method_watch import WatchedRun, difference
from .policies import one_thread

Array = np.ndarray
Made = type[Method] | Method
TOLERANCE = 1e-3  # of an array after one step from the same state, relative to its norm
SMALL = 5e-2  # a norm: shifts and moments that have only just left zero are compared with this
FLIPPED = 2e-2  # of optimizer state, which a unit that rounding put on the other side of a ReLU shows
USUAL = Setting()
SELDOM = 7  # steps between states that are resumed from, in other settings than the usual one
CHANGES: tuple[dict[str, Any], ...] = (
    {"net": "cnn", "micro_batch": 5, "epochs": 1},
    {"sparsity": 0.5},
    {"batch": 1, "tasks": 2, "epochs": 1, "samples": 8},
    {"in_tasks": False},
)


def check_method(method: str | Made, engines: Sequence[str] = ("native", "torch")) -> None:
    """Train small networks with a method, given by name, class or object. Raises AssertionError, saying what broke,
    where, and where to read, unless

    - it declares what it is: name, contract, options of plain values from which it can be made again, needs that go
      together;
    - every step works: ragged last batches, a class seen once, an empty memory (at first and in mid-task), a pattern
      that changes in mid-task, a head that grows in mid-task, micro-batches (the same step), batch norm, no tasks;
    - a step takes one step of the engine with `before_step` right before it, and has a finite loss;
    - scores fit the samples, are -inf for classes never seen, and asking for them changes nothing;
    - the same seed gives the same bits: it draws from `Context.rng` alone;
    - saved and resumed at any moment, also in a phase, it goes on bit by bit; `state` holds arrays, no more bytes than
      planned;
    - what it declares it uses (sides, arrays per weight, gradient copies, passes, fields), and it uses no more;
    - the engines agree on losses, weights and FLOPs.

    Parameters
    ----------
    method : of objects the options are taken, as `Learner` does
    engines : of those that are to agree; ``torch`` needs torch
    """
    made = _declared(method)
    tasks = _narrowed(made)
    with one_thread(engines):
        whole = _resumes_bit_by_bit(made, replace(tasks, engine=engines[0]))
        _uses_what_it_declares(whole)
        _micro_batches_change_nothing(made, replace(tasks, engine=engines[0], epochs=1))
        _grows_in_mid_task(made, replace(tasks, engine=engines[0]))
        if whole.method.needs.memory:
            _goes_on_with_an_emptied_memory(made, replace(tasks, engine=engines[0]))
        for change in CHANGES:
            setting = replace(tasks, engine=engines[0], **change)
            if _allowed(whole.method, setting):
                _resumes_bit_by_bit(made, setting, every=SELDOM)
        for one, other in pairwise(engines):
            for net, number in (("mlp", 3), ("cnn", 2)):
                _engines_agree(made, replace(tasks, engine=one, net=net, tasks=number, epochs=1), other)


# -- what it is


def _declared(method: str | Made) -> Made:
    """The method as an object or class. Raises AssertionError unless it says what it is."""
    found: Any = method
    if isinstance(method, str):
        try:
            found = METHODS.get(method)
        except EdgeclError as error:
            raise AssertionError(f"Method '{method}' cannot be had: {error} Read edgecl.methods.METHODS.") from error
    cls = found if isinstance(found, type) else type(found)
    if not issubclass(cls, Method):
        raise AssertionError(f"{found!r} is no Method. Read edgecl.methods.Method.")
    if not cls.name:
        raise AssertionError(f"{cls.__name__} has no name. Read edgecl.methods.Method.")
    if cls.__module__.partition(".")[0] != "edgecl" and contract_of(cls) != CONTRACT:
        raise _broken(cls, f"says contract {contract_of(cls)}, this version has {CONTRACT}", "contract")
    try:
        first = found() if isinstance(found, type) else found
        options = first.hyper()
        again = cls(**options)
    except (TypeError, BadInput) as error:
        raise _broken(cls, f"cannot be made again from its options: {error}", "hyper") from error
    if again.hyper() != options:
        raise _broken(cls, f"made again from {options} has the options {again.hyper()}", "hyper")
    try:
        json.dumps(options)
    except TypeError as error:
        raise _broken(cls, f"has options that are no plain values: {error}", "hyper") from error
    if not isinstance(first.needs, Needs):
        raise _broken(cls, f"needs {first.needs!r}, which is no Needs", "needs")
    return found


def _narrowed(made: Made) -> Setting:
    """The usual setting, with a memory for candidates to be drawn from."""
    needs = (made() if isinstance(made, type) else made).needs
    return replace(USUAL, memory=max(USUAL.memory, needs.candidates))


def _allowed(method: Method, setting: Setting) -> bool:
    if not setting.in_tasks:
        return not needs_tasks(method)
    frozen = method.needs.trains == "none" and method.needs.body == "frozen"
    return not (setting.sparsity and frozen)


def _broken(cls: type[Method], what: str, where: str) -> AssertionError:
    return AssertionError(f"Method '{cls.name}': {what}. Read edgecl.methods.Method.{where}.")


# -- what it does


def _resumes_bit_by_bit(made: Made, setting: Setting, every: int = 5) -> WatchedRun:
    """One watched run, a second with the same seed, and a third that goes on from states of the first one: from each
    ``every`` steps and from each first step of a phase.
    """
    first = WatchedRun(made, setting)
    saved, step, was_in_phase = [(0, first.at, first.state())], 0, False
    while first.advance():
        step += 1
        if step % every == 0 or (first.in_phase and not was_in_phase):
            saved.append((step, first.at, first.state()))
        was_in_phase = first.in_phase
    saved.append((step, first.at, first.state()))
    if every < SELDOM:  # told apart from a state that lacks something; in other settings either shows below
        _repeats(made, setting, first, saved[-1][2])
    for (start, at, state), (stop, _, wanted) in pairwise(saved):
        resumed = WatchedRun(made, setting, seed=9, like=first)
        resumed.load(state)
        for _ in range(stop - start):
            resumed.advance()
        if wanted is saved[-1][2]:
            resumed.advance()  # what comes after the last step
        if where := difference(wanted, resumed.state()):
            first.at = at
            raise first.broken(f"saved here and resumed, other bits {stop - start} steps later ({where})", "state")
    return first


def _repeats(made: Made, setting: Setting, first: WatchedRun, wanted: Mapping[str, Any]) -> None:
    again = WatchedRun(made, setting, like=first)
    while again.advance():
        pass
    if where := difference(wanted, again.state()):
        what = f"the same seed gives other bits the second time ({where}); draw from Context.rng"
        raise first.broken(what, "train_step")


def _uses_what_it_declares(run: WatchedRun) -> None:
    """After a whole run."""
    needs, engine = run.method.needs, run.core.parts.engine
    for name in needs.sides:
        if engine.side(name).empty:
            raise run.broken(f"the side '{name}' is declared and was never written", "sides")
    for name in needs.per_weight:
        if needs.trains != "none" and name not in run.written:
            raise run.broken(f"the array '{name}' per weight is declared and was never written", "per_weight")
    if needs.gradient_copies and not run.copies:
        raise run.broken("gradient copies are declared and none was made", "gradient_copies")
    if run.made < run.plan.step_flops:
        raise run.broken(
            f"no step took more than {run.made} FLOPs, and {run.plan.step_flops} are planned: draws or passes that are "
            "declared never ran",
            "passes",
        )
    if needs.passes.phases and not run.phase_steps:
        raise run.broken("epochs or steps of phases are declared and there was none", "passes")


def _micro_batches_change_nothing(made: Made, setting: Setting) -> None:
    """Step by step from the same state: a network without batch norm learns the same."""
    whole, cut = WatchedRun(made, setting), WatchedRun(made, replace(setting, micro_batch=3))
    while whole.advance():
        cut.advance()
        if where := _apart(whole, cut):
            raise cut.broken(f"micro-batches of 3 rows change what a step learns ({where})", "train_step")
        cut.core.parts.engine.load(whole.core.parts.engine.state())


def _grows_in_mid_task(made: Made, setting: Setting) -> None:
    """The head doubles in the middle of the second task; saved and resumed after it."""
    run = WatchedRun(made, setting)
    while run.task == 0 or run.loop is None or run.loop.done < 3:
        if not run.advance():
            return
    run.at, run.widened = f"when the head grew to {2 * setting.classes} units, {run.at}", True
    try:
        run.core.widen(2 * setting.classes)
    except EdgeclError as error:
        raise run.broken(str(error), "train_step") from error
    run.check_scores()
    state = run.state()
    for _ in range(4):
        run.advance()
    resumed = WatchedRun(made, setting, seed=9, like=run)
    resumed.load(state)
    resumed.widened = True
    for _ in range(4):
        resumed.advance()
    if where := difference(run.state(), resumed.state()):
        raise run.broken(f"saved after its head grew and resumed, other bits 4 steps later ({where})", "state")
    while run.advance():
        pass


def _goes_on_with_an_emptied_memory(made: Made, setting: Setting) -> None:
    """Everybody in it was forgotten, in the middle of the second task."""
    run = WatchedRun(made, setting)
    while run.task == 0 or run.loop is None or run.loop.done < 3:
        if not run.advance():
            return
    memory = run.core.parts.memory
    assert memory is not None
    memory.clear(np.arange(memory.slots))
    run.at = f"after the memory was emptied, {run.at}"
    while run.advance():
        pass


def _engines_agree(made: Made, setting: Setting, other_kind: str) -> None:
    """Step by step from the same weights."""
    one, other = WatchedRun(made, setting), WatchedRun(made, replace(setting, engine=other_kind))
    while one.advance():
        other.advance()
        if where := _apart(one, other):
            raise one.broken(f"differs from the {other_kind} engine after the same step ({where})", "train_step")
        meters, others = one.core.parts.engine.meters, other.core.parts.engine.meters
        for what in ("forward_flops", "backward_flops"):
            if getattr(meters, what) != getattr(others, what):
                raise one.broken(
                    f"{what} are {getattr(meters, what)}, on {other_kind} {getattr(others, what)}", "train_step"
                )
        other.core.parts.engine.load(one.core.parts.engine.state())
        other.method.load({k: v.copy() for k, v in one.method.state().items()})


def _apart(one: WatchedRun, other: WatchedRun) -> str | None:
    """The name of a weight, statistic or score that is another in two runs, or None."""
    theirs = other.core.parts.engine.state()
    for key, values in one.core.parts.engine.state().items():
        found = theirs.get(key)
        if found is None or not _close(values, found, FLIPPED if "/moment/" in key else TOLERANCE):
            return key
    for key, values in one.method.state().items():
        found = other.method.state().get(key)
        if found is None or not _close(values, found, TOLERANCE):
            return f"state()['{key}']"
    return None


def _close(one: Array, other: Array, tolerance: float) -> bool:
    if one.shape != other.shape or one.dtype.kind != "f":
        return np.array_equal(one, other)
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    norm = max(float(np.linalg.norm(one[finite])), SMALL)
    return float(np.linalg.norm(one[finite] - other[finite])) <= tolerance * norm
