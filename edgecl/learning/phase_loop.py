"""PhaseLoop: the steps of a `Phase`, watched, saved in its middle and resumed like a task's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..intake.order import Order
from ..methods.mix import mixed
from ..methods.phase import Phase
from ..sparsity import StepInfo
from .context import EventContext
from .memory_rows import MemoryData
from .task_data import JoinedData, TaskData, TaskRows
from .task_loop import StepLog
from .trainer import Trainer

Array = np.ndarray


class PhaseLoop:
    """Trains the method's current term over the phase's data; nothing is replayed, offered or exchanged.

    Parameters
    ----------
    number : which phase of the task's border it is, from 0
    context : of the task; its data is the task's
    """

    def __init__(self, trainer: Trainer, context: EventContext, phase: Phase, number: int) -> None:
        self.trainer, self.phase, self.number = trainer, phase, number
        self._memory: MemoryData | None = None
        whole = phase.data != "task"  # samples of other tasks are among them: nothing is masked to this one's units
        self.context = replace(context, phase=phase, task=replace(context.task, units=None) if whole else context.task)
        self.data = self._source()
        config = trainer.parts.config
        self.order = Order(config.batch, config.drop_last)
        self.done = 0
        self._frozen: list[str] | None = None  # by this phase, once it began

    def _source(self, slots: Array | None = None) -> TaskData | None:
        """What it trains on; None where the task has no sample."""
        memory, task = self.trainer.parts.memory, self.context.data
        if self.phase.data != "task" and memory is not None:
            self._memory = MemoryData(memory, slots)
            return self._memory if self.phase.data == "memory" or task is None else JoinedData(task, self._memory)
        return task

    @property
    def samples(self) -> int:
        return 0 if self.data is None else len(self.data.ids)

    @property
    def finished(self) -> bool:
        if not self.samples:
            return True
        if self.phase.steps is not None:
            return self.done >= self.phase.steps
        return self.order.epoch >= int(self.phase.epochs or 0)

    def advance(self) -> StepLog | None:
        """One step; None when the phase is done."""
        if self.finished or self.data is None:
            return None
        self._begin()
        order, parts, labels = self.order, self.trainer.parts, self.data.labels
        if order.iteration == 0:
            order.draw(np.flatnonzero(labels >= 0), parts.random["order"])
        rows = order.rows()
        y = labels[rows]
        rows, y = rows[y >= 0], y[y >= 0]  # slots that were emptied since the epoch began
        loss = 0.0
        if rows.size:
            x = self.data.read(rows)
            if self.phase.mix is not None:
                x, y = mixed(x, y, parts.engine.model.graph.classes, self.phase.mix, parts.random["mix"])
            steps = self.phase.steps or (self.phase.epochs or 1) * order.steps
            lr = parts.config.rate if self.phase.lr is None else self.phase.lr.at(self.done, steps)
            info = StepInfo(
                self.context.task.number, self.done, steps, order.epoch, self.phase.epochs, order.iteration,
                order.steps, self.number,
            )  # fmt: skip
            loss = self.trainer.phase_step(TaskRows(x, y, self.data.ids[rows], rows, None), info, self.context, lr)
        log = StepLog(order.epoch, order.iteration, order.steps, loss)
        self.done += 1
        order.done()
        if self.finished:
            self.end()
        return log

    def _begin(self) -> None:
        """Reset and freeze what the phase names, once."""
        if self._frozen is not None:
            return
        engine, names = self.trainer.parts.engine, list(self.trainer.parts.engine.model.parameters)
        if self.phase.reset:
            chosen = names if "*" in self.phase.reset else list(self.phase.reset)
            engine.reset(chosen, self.trainer.parts.random["method"])
        only = self.phase.only
        self._frozen = [] if only is None else [n for n in names if n not in only and not engine.model[n].frozen]
        if self._frozen:
            engine.freeze(self._frozen)

    def end(self) -> None:
        """Let everything train again. To be called once it is finished, also when its samples went away."""
        if self._frozen:
            self.trainer.parts.engine.unfreeze(self._frozen)
        self._frozen = []

    def state(self) -> dict[str, Any]:
        return {
            **self.order.state(),
            "done": self.done,
            "frozen": self._frozen,
            "samples": self.samples,
            "slots": None if self._memory is None else self._memory.slots.copy(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. Where samples came or went since, its present epoch begins anew over what is there."""
        self.order.load(state)
        self.done = int(state["done"])
        self._frozen = None if state["frozen"] is None else [str(n) for n in state["frozen"]]
        if state["slots"] is not None:
            self.data = self._source(np.array(state["slots"], np.int64))
        if state.get("samples", self.samples) != self.samples:
            self.order.iteration = 0
