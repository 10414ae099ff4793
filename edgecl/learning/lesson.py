"""One call of `Learner.learn`: the steps, and the reasons to end before the last of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput
from ..methods import NonFiniteLoss
from .calls import LEARNED, TO_ITS_END, Call
from .task_loop import TaskLoop, check_schedules

if TYPE_CHECKING:
    from ..learner import Learner


@dataclass(frozen=True)
class LearnLog:
    """What a call of `learn` did.

    steps : training steps;  epochs : whole passes over the samples at hand;  loss : mean over the last 20
        steps
    stopped : why it ended before what was asked, or None;  seconds : of training
    """

    steps: int
    epochs: int
    loss: float | None
    stopped: str | None
    seconds: float
    warnings: list[str] = field(default_factory=list)


def teach(
    learner: Learner,
    steps: int | None,
    epochs: int | None,
    seconds: float | None,
    arrive: Callable[[int], None] | None = None,
) -> LearnLog:
    """The steps of a `learn`; ``arrive`` is called before each with the number of steps done."""
    with learner._observing:  # a sample is either in the view or comes after the call, in the log too
        data = learner._buffer.view()
        if not len(data.labels):
            raise BadInput("There is no sample to learn from.", "Call observe() first.")
        number = learner._calls.add(Call(LEARNED, epochs or 0, steps or 0, 0))
        learner._learning = learner._trainer.steps
        learner._fit_head()
    units = np.unique(data.labels)
    learner._trainer.seen[units] = True
    p, trainer = learner._parts, learner._trainer
    task = learner._task if learner._task else None
    if learner._new_task:
        p.method.begin_task(p.engine, task)
        p.sparse.begin_task(task)
        learner._new_task = False
    planned = epochs if epochs is not None and _fits_schedules(learner, epochs, len(data.labels)) else None
    loop = TaskLoop(
        trainer,
        data,
        learner._dense,
        task=task,
        epochs=planned,
        task_units=units if task is not None else None,
        first_step=trainer.steps if planned is None else 0,
    )
    undo = {"engine": p.engine.state(), "sparse": p.sparse.state()}
    offered = 0 if p.memory is None else p.memory.offered
    losses: list[float] = []
    warnings: list[str] = []
    stopped = learner._shed_at = None
    undone = False
    began = _working_time(learner)
    learner._energy.begin()
    while not (loop.finished or loop.epoch == epochs or len(losses) == steps):
        if arrive is not None:
            arrive(len(losses))
        used = _working_time(learner) - began
        if seconds is not None and used >= seconds:
            break
        stopped = "stop() was called" if learner._stop.is_set() else None
        stopped = stopped or learner._guard.reason(trainer, learner._train_seconds + used)
        if stopped is not None:
            break
        if learner._governor is not None:
            learner._governor.before_step(trainer.steps, learner._stop.is_set)
            if learner._stop.is_set():
                continue
        before = time.monotonic()
        try:
            log = loop.advance()
        except NonFiniteLoss as error:
            p.engine.load(undo["engine"])
            p.sparse.load(undo["sparse"])
            _forget_logits(learner, offered)
            stopped = f"loss not finite at step {trainer.steps}; weights are as they were before this call"
            warnings.append(error.cause)
            undone = True
            break
        if log is not None:
            losses.append(log.loss)
            learner._calls.ended_after(number, len(losses))
        if learner._governor is not None:
            learner._governor.after_step(time.monotonic() - before)
    learner._learning = None
    if seconds is None and (stopped is None or undone):
        learner._calls.ended_after(number, TO_ITS_END)
    used = _working_time(learner) - began
    learner._energy.end()
    learner._train_seconds += used
    if learner._shed_at is not None:
        warnings.append(f"RAM came near its budget at step {learner._shed_at}: read-ahead was given up.")
    if loop.epoch or loop.finished:
        learner._buffer.learned = max(learner._buffer.learned, min(len(data.labels), len(learner._buffer)))
    if stopped is not None and stopped.startswith("budget") and learner.path is not None:
        learner.save()
    recent = losses[-20:]
    mean = float(np.mean(recent)) if recent else None
    return LearnLog(len(losses), loop.epoch, mean, stopped, used, warnings)


def _working_time(learner: Learner) -> float:
    """A clock that stands still while the governor rests."""
    return time.monotonic() - (0.0 if learner._governor is None else learner._governor.waited)


def _forget_logits(learner: Learner, offered: int) -> None:
    """Samples remembered since so many offers stay, the logits that an undone model gave them do not."""
    memory = learner._parts.memory
    if memory is not None and "logits" in memory.fields:
        slots = np.flatnonzero(memory.order >= offered)
        memory.update_field(slots, "logits", np.zeros((slots.size, 0), np.float16))


def _fits_schedules(learner: Learner, epochs: int, samples: int) -> bool:
    """Whether this call is long enough for the per-task schedules; otherwise the open-ended ones are
    used."""
    config = replace(learner._parts.config, epochs=epochs)
    try:
        check_schedules(config, learner._parts.sparse, learner._parts.method, [samples])
    except BadInput:
        return False
    return True
