"""Order: in which order an epoch visits positions, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..planning.schedules import steps_of

Array = np.ndarray


class Order:
    """Batches of a drawn order, epoch after epoch.

    epoch, iteration : whole epochs so far, steps done in the present one;  positions : int64, of the present epoch
    """

    def __init__(self, batch: int, drop_last: bool = False) -> None:
        self.batch, self.drop_last = batch, drop_last
        self.epoch = self.iteration = 0
        self.positions: Array = np.zeros(0, np.int64)

    @property
    def steps(self) -> int:
        """Steps of the present epoch."""
        return steps_of(self.positions.size, self.batch, self.drop_last)

    def draw(self, kept: Array, rng: np.random.Generator) -> None:
        """Begin an epoch over ``kept``."""
        self.positions = rng.permutation(kept)

    def rows(self, iteration: int) -> Array:
        """Positions of a batch of this epoch."""
        return self.positions[iteration * self.batch : (iteration + 1) * self.batch]

    def done(self) -> bool:
        """Count a step; whether it was the epoch's last."""
        self.iteration += 1
        if self.iteration < self.steps:
            return False
        self.epoch, self.iteration = self.epoch + 1, 0
        return True

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "iteration": self.iteration, "order": self.positions.copy()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.iteration = int(state["epoch"]), int(state["iteration"])
        self.positions = np.array(state["order"], np.int64)
