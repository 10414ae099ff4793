"""TaskLoop: the steps of one task, epoch after epoch, one `advance` each. Its position can be saved and restored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import Config
from ..data import DataRemoval, removal_points
from ..intake.order import Order
from ..methods.losses import log_softmax
from ..planning.schedules import REMOVAL_STAGES, planned_steps
from ..sparsity import StepInfo
from .context import EventContext
from .ledger import DenseRows
from .task_data import TaskData, TaskRows, numbers_of, tell_visited
from .trainer import Trainer

Array = np.ndarray
AHEAD = 2  # batches named to the data before they are read


@dataclass(frozen=True)
class StepLog:
    """What one step did, for progress and logs."""

    epoch: int
    iteration: int
    epoch_steps: int
    loss: float


class TaskLoop:
    """Trains on the samples of ``context`` for ``epochs``; with None it goes on until the caller stops calling.

    Parameters
    ----------
    context : with the task, its data and what is kept out of training
    dense : counts what the dense run would do
    first_step : where an open-ended count of steps stands
    order : of an earlier call over the same data, which is gone on with; by default one of its own
    Removed samples are left out from the next epoch on. An epoch visits the kept samples in a drawn order; where the
    method asks for merged batches, the memory slots that were filled when the task began are among them (those filled
    in it hold samples that the epoch visits anyway), in a stream without tasks those filled when the epoch begins.
    """

    def __init__(
        self,
        trainer: Trainer,
        context: EventContext,
        dense: DenseRows,
        *,
        epochs: int | None,
        first_step: int = 0,
        order: Order | None = None,
    ) -> None:
        self.trainer, self.context, self.dense = trainer, context, dense
        self.epochs = epochs
        config = trainer.parts.config
        self.n = len(self.data.labels)
        self.merged = trainer.method.needs.merged
        self.slots: Array | None = self._memory_slots() if self.merged else None
        self.removal: DataRemoval | None = None
        self.planned: int | None = None
        if epochs is not None:
            self.removal = make_removal(config, self.data.labels, epochs)
            merged = 0 if self.slots is None else self.slots.size
            self.planned = planned_steps(config, self._whole(), epochs, merged)
        self.order = Order(config.batch, config.drop_last) if order is None else order
        if order is not None:
            order.begin(self._whole() + (0 if self.slots is None else self.slots.size))
        self._named = 0  # positions of this order up to which the data has been told of them
        self.done = first_step

    @property
    def data(self) -> TaskData:
        assert self.context.data is not None
        return self.context.data

    @property
    def finished(self) -> bool:
        return self.epochs is not None and self.order.epoch >= self.epochs

    @property
    def epoch(self) -> int:
        return self.order.epoch

    def advance(self) -> StepLog | None:
        """One step; None when the task is done."""
        if self.finished:
            return None
        parts, order = self.trainer.parts, self.order
        self._remove_easy()
        if not order.left:
            if self.merged and self.context.task.number is None:
                self.slots = self._memory_slots()
            order.draw(self._kept(), parts.random["order"])
            self._named = 0
        positions = order.rows()
        rows, slots = self._split(positions)
        x = self.data.read(rows)
        self._name_next()
        y = self.data.labels[rows]
        filled = 0 if parts.memory is None else parts.memory.filled
        subjects = self.data.subjects
        result = self.trainer.step(
            TaskRows(
                x, y, self.data.ids[rows], numbers_of(self.data, rows), None if subjects is None else subjects[rows]
            ),
            self._info(),
            self.context,
            slots=slots,
            write_fields=self.epochs is not None and order.epoch == self.epochs - 1,
        )
        if self.removal is not None:
            logits = result.logits_current
            losses = -log_softmax(logits)[np.arange(rows.size), y]
            self.removal.observe(rows, np.argmax(logits, axis=1) == y, losses)
        log = StepLog(order.epoch, order.iteration, order.steps, result.loss)
        self.done += 1
        self._charge(len(rows), result.samples, filled)
        order.done()
        tell_visited(self.data, rows, whole=not order.left)
        return log

    def _charge(self, current: int, samples: int, filled: int) -> None:
        """The dense run's step: ``current`` task rows of ``samples`` in all; ``filled`` slots before it."""
        config, ledger, order = self.trainer.parts.config, self.trainer.parts.ledger, self.order
        if self.removal is None:  # memory rows of a merged batch stand where current ones would
            current = samples if self.merged else current
            self.dense.charge_step(ledger, current, samples - current)
            return
        progress = (order.iteration + 1) / order.steps
        whole = self._whole() + (0 if self.slots is None else self.slots.size)
        self.dense.charge(ledger, whole, config.batch, config.drop_last, progress, filled)

    def _whole(self) -> int:
        """Task samples that are not held out."""
        return self.n - (0 if self.context.held_out is None else len(self.context.held_out[0]))

    def _info(self) -> StepInfo:
        order = self.order
        return StepInfo(
            self.context.task.number,
            self.done,
            self.planned,
            order.epoch,
            self.epochs,
            order.iteration,
            None if self.epochs is None else order.steps,
        )

    def _kept(self) -> Array:
        """Positions of an epoch: task samples, then memory slots as ``~slot``."""
        kept = np.arange(self.n) if self.removal is None else self.removal.kept
        if self.context.held_out is not None:
            kept = kept[~np.isin(kept, self.context.held_out[0])]
        if self.slots is not None:
            kept = np.concatenate([kept, ~self.slots])
        return kept

    def _memory_slots(self) -> Array:
        memory = self.trainer.parts.memory
        slots = np.zeros(0, np.int64) if memory is None else np.flatnonzero(memory.classes >= 0)
        held = self.context.held_out
        return slots if held is None else slots[~np.isin(slots, held[1])]

    def _split(self, positions: Array) -> tuple[Array, Array | None]:
        """(positions within the task, memory slots or None where batches are not merged)."""
        if self.slots is None:
            return positions, None
        slots = ~positions[positions < 0]
        memory = self.trainer.parts.memory
        if memory is not None:  # emptied since the epoch began
            slots = slots[memory.classes[slots] >= 0]
        return positions[positions >= 0], slots

    def _name_next(self) -> None:
        """Tell the data which batches of this epoch come next, so that it reads them during the step."""
        order = self.order
        for ahead in range(1, AHEAD + 1):
            at, rows = order.taken + ahead * order.batch, order.rows(ahead)
            if at > self._named and rows.size:
                self.data.expect(rows[rows >= 0])
                self._named = at

    def _remove_easy(self) -> None:
        """Run the removal stages that are due before this step."""
        if self.removal is None:
            return
        assert self.epochs is not None
        order = self.order
        now = order.epoch + (order.iteration / order.steps if order.iteration else 0.0)
        points = removal_points(self.epochs, REMOVAL_STAGES)
        while self.removal.stage < REMOVAL_STAGES and now >= points[self.removal.stage] - 1e-9:
            self.removal.remove(self.trainer.parts.random["removal"])

    def state(self) -> dict[str, Any]:
        return {
            **self.order.state(),
            "done": self.done,
            "planned": self.planned,
            "slots": self.slots,
            "removal": None if self.removal is None else self.removal.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, over the same data."""
        self.order.load(state)
        if self.merged and state.get("slots") is not None:  # a saved order of before counted slots from n on
            old = self.order.positions >= self.n
            self.order.positions[old] = ~np.array(state["slots"], np.int64)[self.order.positions[old] - self.n]
        self.done = int(state["done"])
        self.planned = state.get("planned", self.planned)  # the memory may have filled since the task began
        if self.merged and state.get("slots") is not None:
            self.slots = np.array(state["slots"], np.int64)
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
        REMOVAL_STAGES,
        criterion="forgetting" if config.sparse_schedule == "released" else "errors",
        tie_break=config.removal_tie_break,
        labels=None if released else labels,
        carry_over=not released and epochs < 20,
    )
