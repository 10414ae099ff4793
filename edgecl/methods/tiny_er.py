"""Tiny episodic memories (Chaudhry et al. 2019), as in CarM's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import choice
from .base import Term
from .batch import Array, Batch, Draw
from .context import Context
from .er import ER
from .losses import cross_entropy
from .phase import Phase


class TinyER(ER):
    """One pass; the mean cross-entropy over current and replayed rows, each over the units of its own task.

    units : ``task``, as the paper's multi-head runs; ``all`` for streams that do not tell the task
    """

    name: ClassVar[str] = "tiny-er"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "domain-il")
    reference: ClassVar[str] = "Chaudhry et al., 2019"
    defaults: ClassVar[Mapping[str, Any]] = {"epochs": 1, "batch": 10, "lr": 0.1}

    units: str = option("task", choice(("task", "all")), "units each row's loss sees: its own task's, or all")

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._task_of: Array = np.zeros(0, np.int64)  # of each head unit, -1 unknown

    def begin_task(self, c: Context) -> Sequence[Phase]:
        if c.task.units is not None and c.task.number is not None:
            more = c.engine.model.graph.classes - len(self._task_of)
            self._task_of = np.concatenate([self._task_of, np.full(max(more, 0), -1)]).astype(np.int64)
            new = c.task.units[self._task_of[c.task.units] < 0]
            self._task_of[new] = c.task.number
        return ()

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        return self._term(logits, part.y, len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return self._term(logits, part.y, len(whole))

    def _term(self, logits: Array, y: Array, count: int) -> Term:
        if self.units == "task" and y.ndim == 1 and len(self._task_of) == logits.shape[1]:
            logits = np.where(self._task_of[y][:, None] == self._task_of, logits, np.float32(-np.inf))
        return cross_entropy(logits, y, count=count)

    def state(self) -> dict[str, Array]:
        return {"task_of": self._task_of.copy()}

    def load(self, state: Mapping[str, Array]) -> None:
        self._task_of = np.array(state["task_of"], np.int64)

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return True  # which task a unit belongs to says nothing of a subject
