"""TaskLoop: the steps of one task, epoch after epoch, one `advance` each. Its position can be saved and
restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import Config
from ..data import DataRemoval, check_removal, removal_points
from ..methods import Method
from ..methods.losses import log_softmax
from ..sparsity import SparseTraining, StepInfo
from .ledger import DenseRows, steps_of
from .task_data import TaskData
from .trainer import Trainer

Array = np.ndarray
STAGES = 4  # of data removal
AHEAD = 2  # batches named to the data before they are read


@dataclass(frozen=True)
class StepLog:
    """What one step did, for progress and logs."""

    epoch: int
    iteration: int
    epoch_steps: int
    loss: float


class TaskLoop:
    """Trains on ``data`` for ``epochs``; with epochs None it goes on until the caller stops calling.

    task : 0-based, or None;  task_units : head units of the task, or None where there are no tasks
    first_step : where an open-ended count of steps stands
    Removed samples are left out from the next epoch on. An epoch visits the kept samples in a drawn order.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: TaskData,
        dense: DenseRows,
        *,
        task: int | None,
        epochs: int | None,
        task_units: Array | None = None,
        first_step: int = 0,
    ) -> None:
        self.trainer, self.data, self.dense = trainer, data, dense
        self.task, self.epochs, self.task_units = task, epochs, task_units
        config = trainer.parts.config
        self.n = len(data.labels)
        self.removal: DataRemoval | None = None
        self.planned: int | None = None
        if epochs is not None:
            self.removal = make_removal(config, data.labels, epochs)
            self.planned = planned_steps(config, self.n, epochs)
        self.epoch = self.iteration = 0
        self._named = 0  # batches of this epoch that the data has been told of
        self.done = first_step
        self.order = np.zeros(0, np.int64)

    @property
    def finished(self) -> bool:
        return self.epochs is not None and self.epoch >= self.epochs

    @property
    def epoch_steps(self) -> int:
        config = self.trainer.parts.config
        return steps_of(self.order.size, config.batch, config.drop_last)

    def advance(self) -> StepLog | None:
        """One step; None when the task is done."""
        if self.finished:
            return None
        parts = self.trainer.parts
        batch = parts.config.batch
        if self.iteration == 0:
            self._remove_easy()
            kept = np.arange(self.n) if self.removal is None else self.removal.kept
            self.order = parts.random["order"].permutation(kept)
            self._named = 0
        else:
            self._remove_easy()
        rows = self._rows(self.iteration)
        x = self.data.read(rows)
        self._name_next()
        y = self.data.labels[rows]
        info = StepInfo(
            self.task,
            self.done,
            self.planned,
            self.epoch,
            self.epochs,
            self.iteration,
            None if self.epochs is None else self.epoch_steps,
        )
        filled = 0 if parts.memory is None else parts.memory.filled
        last_epoch = self.epochs is not None and self.epoch == self.epochs - 1
        result = self.trainer.step(
            x,
            y,
            self.data.ids[rows],
            rows,
            info,
            self.task_units,
            write_logits=last_epoch,
            subjects=None if self.data.subjects is None else self.data.subjects[rows],
        )
        if self.removal is not None:
            logits = result.logits_current
            losses = -log_softmax(logits)[np.arange(rows.size), y]
            self.removal.observe(rows, np.argmax(logits, axis=1) == y, losses)
        log = StepLog(self.epoch, self.iteration, self.epoch_steps, result.loss)
        self.done += 1
        self.iteration += 1
        progress = self.iteration / self.epoch_steps
        self.dense.charge(parts.ledger, self.n, batch, parts.config.drop_last, progress, filled)
        if self.iteration == self.epoch_steps:
            parts.method.end_epoch(parts.engine, self.epoch)
            self.epoch += 1
            self.iteration = 0
        return log

    def _rows(self, iteration: int) -> Array:
        """Positions of a batch of this epoch."""
        batch = self.trainer.parts.config.batch
        return self.order[iteration * batch : (iteration + 1) * batch]

    def _name_next(self) -> None:
        """Tell the data which batches of this epoch come next, so that it reads them during the step."""
        for iteration in range(max(self._named, self.iteration) + 1, self.iteration + AHEAD + 1):
            if iteration < self.epoch_steps:
                self.data.expect(self._rows(iteration))
                self._named = iteration

    def _remove_easy(self) -> None:
        """Run the removal stages that are due before this step."""
        if self.removal is None:
            return
        assert self.epochs is not None
        now = self.epoch + (self.iteration / self.epoch_steps if self.iteration else 0.0)
        points = removal_points(self.epochs, STAGES)
        while self.removal.stage < STAGES and now >= points[self.removal.stage] - 1e-9:
            self.removal.remove(self.trainer.parts.random["removal"])

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "iteration": self.iteration,
            "done": self.done,
            "order": self.order.copy(),
            "removal": None if self.removal is None else self.removal.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, over the same data."""
        self.epoch, self.iteration, self.done = state["epoch"], state["iteration"], state["done"]
        self.order = np.array(state["order"], np.int64)
        self._named = 0
        if self.removal is not None:
            self.removal.load(state["removal"])


def make_removal(config: Config, labels: Array, epochs: int) -> DataRemoval | None:
    """Data removal as configured, or None. The tie-break ``order`` is the released form as it is; the others
    keep the classes' shares equal and, with one visit between stages, the statistics across stages.
    """
    if config.remove == 0:
        return None
    released = config.removal_tie_break == "order"
    return DataRemoval(
        len(labels),
        config.remove,
        STAGES,
        criterion="forgetting" if config.sparse_schedule == "released" else "errors",
        tie_break=config.removal_tie_break,
        labels=None if released else labels,
        carry_over=not released and epochs < 20,
    )


def planned_steps(config: Config, n: int, epochs: int) -> int:
    """Steps of a task of ``n`` samples: removal is known in size beforehand."""
    total, per_stage = 0, int(config.remove * n / STAGES + 1e-9)
    points = removal_points(epochs, STAGES) if config.remove else ()
    for epoch in range(epochs):
        kept = n - per_stage * sum(point <= epoch + 1e-9 for point in points)
        total += steps_of(kept, config.batch, config.drop_last)
    return total


def check_schedules(config: Config, sparse: SparseTraining, method: Method, sizes: list[int]) -> None:
    """Plan time: `BadInput` when a technique that was asked for would never fire on one of the tasks."""
    for n in sizes:
        check_removal(n, config.epochs, config.batch, config.remove, STAGES)
        sparse.check(config.epochs, planned_steps(config, n, config.epochs))
