"""ReplayLoop: steps over the memory alone, where no sample of the present task is at hand."""

from __future__ import annotations

import numpy as np

from ..intake.order import steps_of
from ..sparsity import StepInfo
from .context import EventContext
from .ledger import DenseRows
from .task_data import TaskRows
from .task_loop import StepLog
from .trainer import Trainer


class ReplayLoop:
    """Replays as the method does beside current samples, without these: nothing is offered to the memory.

    Parameters
    ----------
    epochs : whole passes over as many samples as the memory holds; with None it goes on until nobody asks
    """

    def __init__(self, trainer: Trainer, context: EventContext, dense: DenseRows, epochs: int | None) -> None:
        self.trainer, self.context, self.dense, self.epochs = trainer, context, dense, epochs
        memory, config = trainer.parts.memory, trainer.parts.config
        rows = config.batch if trainer.method.needs.merged else config.replay_rows
        self.epoch_steps = 0 if memory is None else steps_of(memory.filled, rows)
        self._rows = rows
        self.done = 0

    @staticmethod
    def possible(trainer: Trainer) -> bool:
        """Whether the method replays, and has something to replay."""
        memory, needs = trainer.parts.memory, trainer.method.needs
        return memory is not None and memory.filled > 0 and bool(needs.draws or needs.merged)

    @property
    def epoch(self) -> int:
        return self.done // self.epoch_steps if self.epoch_steps else 0

    @property
    def finished(self) -> bool:
        return not self.epoch_steps or (self.epochs is not None and self.epoch >= self.epochs)

    def advance(self) -> StepLog | None:
        """One step; None when it is done."""
        if self.finished:
            return None
        parts = self.trainer.parts
        memory = parts.memory
        assert memory is not None
        x, none = memory.samples[:0], np.zeros(0, np.int64)
        slots = memory.draw(parts.random["replay"], self._rows) if self.trainer.method.needs.merged else None
        iteration, number = self.done % self.epoch_steps, self.context.task.number
        steps = None if self.epochs is None else self.epoch_steps
        info = StepInfo(number, self.trainer.steps, None, self.epoch, self.epochs, iteration, steps)
        result = self.trainer.step(TaskRows(x, none, none, none, None), info, self.context, slots=slots)
        self.dense.charge_step(parts.ledger, 0, result.samples)
        log = StepLog(self.epoch, iteration, self.epoch_steps, result.loss)
        self.done += 1
        return log
