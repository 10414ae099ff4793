"""Sums of features by class: what nearest means, linear discriminants and ridge regression are solved from."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

Array = np.ndarray
BLOCK = 64  # rows of the second moment kept as one array


class Sums:
    """Counts n_c, sums s_c = sum f and, where asked for, the second moment G = sum f f^T, all in float64.

    They do not depend on the order of the samples. Subtracting a sample's share gives the sums that never saw it;
    those of two devices add up.

    Parameters
    ----------
    width : of the features, d
    second : whether G is kept; of it the upper triangle, as blocks of rows: [64, d], [64, d - 64] ...

    counts : float64 [C];  sums : float64 [C, d];  C grows with the labels
    """

    def __init__(self, width: int, second: bool = False) -> None:
        self.width = width
        self.counts: Array = np.zeros(0)
        self.sums: Array = np.zeros((0, width))
        self.blocks = [np.zeros((min(BLOCK, width - i), width - i)) for i in range(0, width, BLOCK) if second]
        self.lock = threading.RLock()  # predictions of other threads read meanwhile

    def add(self, features: Array, y: Array, sign: float = 1.0) -> None:
        """Count features [n, d] of classes ``y`` int [n]; ``sign`` -1 takes them out again."""
        if not len(y):
            return
        f = np.asarray(features, np.float64)
        with self.lock:
            self._reach(int(y.max()) + 1)
            np.add.at(self.counts, y, sign)
            np.add.at(self.sums, y, sign * f)
            for i, block in zip(range(0, self.width, BLOCK), self.blocks):
                block += sign * (f[:, i : i + BLOCK].T @ f[:, i:])

    def merge(self, other: Sums, sign: float = 1.0) -> None:
        """Count what another device counted too. Both must be over the same features."""
        with self.lock:
            self._reach(len(other.counts))
            self.counts[: len(other.counts)] += sign * other.counts
            self.sums[: len(other.sums)] += sign * other.sums
            for mine, theirs in zip(self.blocks, other.blocks):
                mine += sign * theirs

    def second_moment(self) -> Array:
        """G, float64 [d, d], symmetric; a new array."""
        full = np.zeros((self.width, self.width))
        for i, block in zip(range(0, self.width, BLOCK), self.blocks):
            full[i : i + len(block), i:] = block
            full[i + len(block) :, i : i + len(block)] = block[:, len(block) :].T
        return full

    def means(self) -> Array:
        """Mean by class, float64 [C, d]; zero where a class has no sample."""
        return self.sums / np.maximum(self.counts, 1)[:, None]

    def _reach(self, classes: int) -> None:
        more = classes - len(self.counts)
        if more > 0:
            self.counts = np.concatenate([self.counts, np.zeros(more)])
            self.sums = np.concatenate([self.sums, np.zeros((more, self.width))])

    @staticmethod
    def bytes(width: int, classes: int, second: bool) -> int:
        """What it takes in RAM."""
        packed = sum(min(BLOCK, width - i) * (width - i) for i in range(0, width, BLOCK)) if second else 0
        return 8 * (packed + classes * (width + 1))

    def state(self) -> dict[str, Array]:
        with self.lock:
            blocks = {f"block{i}": b.copy() for i, b in enumerate(self.blocks)}
            return {"counts": self.counts.copy(), "sums": self.sums.copy(), **blocks}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Sums:
        """What `state` returned."""
        found = cls(state["sums"].shape[1])
        found.counts, found.sums = np.array(state["counts"], np.float64), np.array(state["sums"], np.float64)
        names = sorted((k for k in state if k.startswith("block")), key=lambda k: int(k[5:]))
        found.blocks = [np.array(state[k], np.float64) for k in names]
        return found
