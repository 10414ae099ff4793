"""Progress: a moment of a run, for displays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .core import Core
from .session import Session
from .task_loop import StepLog


@dataclass(frozen=True)
class Progress:
    """Where a run is after a step.

    task, epoch, step : of so many ``tasks``, ``epochs`` (of a task) and planned ``steps``
    accuracy : Class-IL after the last finished task, or None
    resident_bytes : when it was last looked at;  ram_limit : in bytes, or None
    flops, dense_flops : of all training so far, executed and of the same run dense
    """

    task: int
    tasks: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None
    resident_bytes: int
    ram_limit: int | None
    flops: int
    dense_flops: int


Listener = Callable[[Progress], None]


def progress_of(
    core: Core, session: Session, log: StepLog, task: int, whole: tuple[int, int, int], accuracy: float | None
) -> Progress:
    """After a step of ``task``; ``whole``: tasks, epochs and planned steps of the run."""
    guard, (tasks, epochs, steps) = session.guard, whole
    return Progress(
        task=min(task, tasks - 1),
        tasks=tasks,
        epoch=log.epoch,
        epochs=epochs,
        step=core.trainer.steps,
        steps=steps,
        loss=log.loss,
        accuracy=accuracy,
        resident_bytes=guard.last_resident,
        ram_limit=guard.memory.limit,
        flops=core.trainer.flops,
        dense_flops=core.parts.ledger.full_dense,
    )
