"""Order: in which order an epoch visits positions, and how far it has come; kept from one call to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .growing import GrowingArray

Array = np.ndarray


def steps_of(samples: int, batch: int, drop_last: bool = False) -> int:
    """Steps of an epoch; dropping the last incomplete batch still leaves one step."""
    return max(samples // batch, 1) if drop_last else -(-samples // batch)


class Order:
    """Batches of a drawn order, epoch after epoch: every position once before any twice.

    epoch, iteration : whole epochs so far, steps done in the present one; a caller that goes on with an order that is
        not used up counts from 0 again (`begin`)
    size : positions of a whole epoch;  taken : of the order drawn last, visited so far
    Negative positions are memory slots of a merged batch: ``~slot``.
    """

    def __init__(self, batch: int, drop_last: bool = False) -> None:
        self.batch, self.drop_last = batch, drop_last
        self.epoch = self.iteration = self.taken = self.size = 0
        self._positions = GrowingArray(np.zeros(0, np.int64))

    @property
    def positions(self) -> Array:
        """int64, of the order drawn last."""
        return self._positions.values

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return steps_of(self.size, self.batch, self.drop_last)

    @property
    def left(self) -> int:
        """Positions of the present order that wait for their visit."""
        left = max(0, self.positions.size - self.taken)
        return 0 if self.drop_last and self.taken and left < self.batch else left

    def begin(self, size: int) -> None:
        """Count from 0, in epochs of ``size`` positions; what is left of the order is visited first."""
        self.epoch = self.iteration = 0
        self.size = size

    def draw(self, kept: Array, rng: np.random.Generator) -> None:
        """Begin a new order over ``kept``."""
        self._positions = GrowingArray(rng.permutation(kept))
        self.taken, self.size = 0, len(kept)

    def join(self, new: Array, rng: np.random.Generator) -> None:
        """Positions that came since take random places among those that wait. Cost: that of the new ones."""
        end = self.positions.size
        self.taken = min(self.taken, end)
        self._positions = self._positions.appended(np.asarray(new, np.int64))
        values, places = self.positions, rng.integers(self.taken, np.arange(end, end + len(new)) + 1)
        for at, place in enumerate(places.tolist(), end):  # the inside-out shuffle
            values[at], values[place] = values[place], values[at]

    def keep(self, kept: Array) -> None:
        """Samples left: ``kept`` bool [n] says which positions stayed; those move up."""
        waiting = self.positions[self.taken :]
        slots = waiting < 0
        stays = slots | kept[np.where(slots, 0, waiting)] if len(kept) else slots
        moved = np.cumsum(kept) - 1
        waiting = waiting[stays]
        waiting = np.where(waiting < 0, waiting, moved[np.maximum(waiting, 0)]) if len(kept) else waiting
        self._positions, self.taken = GrowingArray(np.ascontiguousarray(waiting)), 0

    def rows(self, ahead: int = 0) -> Array:
        """Positions of the next batch of this order, or of one so many later; none where it has ended."""
        at = self.taken + ahead * self.batch
        rows = self.positions[at : at + self.batch]
        return rows[:0] if ahead and self.drop_last and len(rows) < self.batch else rows

    def done(self) -> bool:
        """Count a step; whether it was the epoch's last."""
        self.taken += self.batch
        self.iteration += 1
        if self.iteration < self.steps:
            return False
        self.epoch, self.iteration = self.epoch + 1, 0
        return True

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "iteration": self.iteration,
            "order": self.positions.copy(),
            "taken": self.taken,
            "size": self.size,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or of one that began every epoch with a new order."""
        self.epoch, self.iteration = int(state["epoch"]), int(state["iteration"])
        self._positions = GrowingArray(np.array(state["order"], np.int64))
        of_old = self.iteration * self.batch or self.positions.size
        self.taken, self.size = int(state.get("taken", of_old)), int(state.get("size", self.positions.size))

    def waiting(self) -> Array:
        """int64, the positions that wait, in their order: all that a learner keeps of it."""
        return self.positions[self.taken :].copy() if self.left else np.zeros(0, np.int64)

    def load_waiting(self, waiting: Any) -> None:
        """Continue from `waiting`."""
        self._positions, self.taken = GrowingArray(np.array(waiting, np.int64)), 0
