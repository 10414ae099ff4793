"""Holdout: rows kept out of a task's training, for methods that fit something on them at its end (BiC)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .task_data import TaskData
from .wiring import Parts

Array = np.ndarray


class Holdout:
    """A share of the memory, class-balanced, and as many new rows, drawn at the start of a task.

    rows : (int64 positions within the task's data, int64 memory slots), None where the method asks for none
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.rows: tuple[Array, Array] | None = None

    def draw(self, data: TaskData) -> None:
        """Anew, for a task of these samples. Nothing is held out while the memory is empty."""
        share, memory = self._parts.method.needs.holdout, self._parts.memory
        if not share or memory is None:
            self.rows = None
            return
        rng, count = self._parts.random["holdout"], round(share * memory.filled)
        slots = _balanced(memory.classes.astype(np.int64), np.flatnonzero(memory.classes >= 0), count, rng)
        positions = _balanced(data.labels, np.arange(len(data.labels)), min(count, len(data.labels) // 2), rng)
        self.rows = positions, slots

    def keep(self, kept: Array) -> None:
        """Samples left the task's data: ``kept`` bool [n] says which stayed."""
        if self.rows is not None:
            positions = self.rows[0][self.rows[0] < len(kept)]
            positions = positions[kept[positions]]
            self.rows = np.cumsum(kept)[positions] - 1, self.rows[1]

    def state(self) -> dict[str, Any] | None:
        return None if self.rows is None else {"positions": self.rows[0], "slots": self.rows[1]}

    def load(self, state: Mapping[str, Any] | None) -> None:
        self.rows = (
            None if state is None else (np.array(state["positions"], np.int64), np.array(state["slots"], np.int64))
        )


def _balanced(labels: Array, among: Array, count: int, rng: np.random.Generator) -> Array:
    """``count`` of the positions ``among``, as nearly as possible the same number of each class; ascending."""
    found: list[Array] = []
    classes, sizes = np.unique(labels[among], return_counts=True)
    for done, unit in enumerate(classes[np.argsort(sizes, kind="stable")]):  # what a small one lacks, the next give
        own = among[labels[among] == unit]
        taken = sum(len(f) for f in found)
        quota = min(len(own), -(-(count - taken) // (len(classes) - done)))
        found.append(rng.choice(own, quota, replace=False))
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)
