"""Reservoir: who makes room in a full stream buffer that no store backs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .portion import Portion
from .rows import Rows

Array = np.ndarray


class Reservoir:
    """A sample that was trained on makes room for a new one; where there is none, those never trained on and the new
    one have equal chances (Vitter's reservoir over what came since there was one).

    passed : samples that found no place, or lost it, before they were trained on
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.passed = self._rivals = 0
        self.late: dict[int, tuple[Array, int, int, int]] = {}  # by row: what is to stand there when training pauses

    def offer(self, visited: Array, x: Array, unit: int, subject: int, number: int) -> None:
        """A sample comes; ``visited`` uint8 [capacity] as in `Rows`."""
        old = np.flatnonzero(visited)
        old = old[~np.isin(old, list(self.late))] if self.late else old
        if old.size:
            row, self._rivals = int(old[self._rng.integers(old.size)]), 0
        else:
            self._rivals += 1
            row = int(self._rng.integers(len(visited) + self._rivals))
            self.passed += 1
        if row < len(visited):
            self.late[row] = (x.copy(), unit, subject, number)

    def settle(self, r: Rows, portion: Portion) -> Array:
        """Put those that found a place where it is; int64, these rows."""
        rows = np.array(list(self.late), np.int64)
        for row, (x, unit, subject, number) in self.late.items():
            portion.swap(int(r.labels[row]), unit)
            portion.fresh += int(r.visited[row])
            r.samples[row], r.labels[row], r.subjects[row] = x, unit, subject
            r.numbers[row], r.visited[row] = number, 0
        self.late.clear()
        return rows

    def state(self) -> dict[str, int]:
        return {"rivals": self._rivals, "passed": self.passed}

    def load(self, state: Any) -> None:
        self._rivals, self.passed = int(state.get("rivals", 0)), int(state.get("passed", 0))
        self.late.clear()
