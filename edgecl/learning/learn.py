"""One call of `Learner.learn`: the steps, and the reasons to end before the last of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..erasure.calls import LEARNED, TO_ITS_END, Call
from ..errors import BadInput
from .task_loop import StepLog, TaskLoop, check_schedules

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
    task = learner._task if learner._has_tasks else None
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
    session, losses, warnings = learner._session, list[float](), list[str]()
    learner._shed_at = None

    def before() -> None:
        if arrive is not None:
            arrive(len(losses))

    def enough() -> bool:
        return loop.epoch == epochs or len(losses) == steps or (seconds is not None and session.lap >= seconds)

    def after(log: StepLog) -> None:
        losses.append(log.loss)
        learner._calls.ended_after(number, len(losses))

    earlier = session.seconds
    stop = session.run(loop, before=before, enough=enough, after=after)
    used = session.seconds - earlier
    stopped = None if stop is None else stop.text
    if stop is not None and stop.kind == "loss":
        p.engine.load(undo["engine"])
        p.sparse.load(undo["sparse"])
        _forget_logits(learner, offered)
        stopped = f"loss not finite at step {trainer.steps}; weights are as they were before this call"
        warnings.append(stop.text)
    learner._learning = None
    if seconds is None and (stop is None or stop.kind == "loss"):
        learner._calls.ended_after(number, TO_ITS_END)
    if learner._shed_at is not None:
        warnings.append(f"RAM came near its budget at step {learner._shed_at}: read-ahead was given up.")
    if loop.epoch or loop.finished:
        learner._buffer.learned = max(learner._buffer.learned, min(len(data.labels), len(learner._buffer)))
    if stop is not None and stop.at_limit and learner.path is not None:
        learner.save()
    recent = losses[-20:]
    mean = float(np.mean(recent)) if recent else None
    return LearnLog(len(losses), loop.epoch, mean, stopped, used, warnings)


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
