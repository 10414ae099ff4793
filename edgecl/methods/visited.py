"""Visited: which samples were counted already, so that no epoch counts one twice."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


class Visited:
    """A set of whole numbers >= 0 that are mostly added from the lowest on; a byte for each above the first gap.

    base : every number below it is in
    """

    def __init__(self) -> None:
        self.base = 0
        self._above = np.zeros(0, bool)

    def add(self, numbers: Array) -> Array:
        """Put ``numbers`` [n] in; bool [n], those that were not."""
        fresh = ~self.has(numbers)
        at = numbers[fresh] - self.base
        if at.size:
            missing = int(at.max()) + 1 - self._above.size
            if missing > 0:
                self._above = np.concatenate([self._above, np.zeros(missing + self._above.size // 4, bool)])
            self._above[at] = True
            run = int(np.argmin(self._above)) if not self._above.all() else self._above.size
            if run >= 1024:
                self.base, self._above = self.base + run, self._above[run:].copy()
        return fresh

    def discard(self, numbers: Array) -> None:
        """Take ``numbers`` [n] out, those that are in."""
        if numbers.size and numbers.min() < self.base:
            first = int(numbers.min())
            self._above, self.base = np.concatenate([np.ones(self.base - first, bool), self._above]), first
        at = np.asarray(numbers, np.int64) - self.base
        self._above[at[at < self._above.size]] = False

    def has(self, numbers: Array) -> Array:
        """bool [n]"""
        at = np.asarray(numbers, np.int64) - self.base
        found = at < 0
        inside = (at >= 0) & (at < self._above.size)
        found[inside] = self._above[at[inside]]
        return found

    def state(self) -> Array:
        """uint8: the base in 8 bytes, then the bits above it."""
        used = int(np.flatnonzero(self._above)[-1]) + 1 if self._above.any() else 0  # not the room kept ahead
        return np.concatenate([np.array([self.base], "<i8").view(np.uint8), np.packbits(self._above[:used])])

    def load(self, state: Array) -> None:
        raw = np.ascontiguousarray(state, np.uint8)
        self.base = int(raw[:8].view("<i8")[0])
        self._above = np.unpackbits(raw[8:]).astype(bool)
