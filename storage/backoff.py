"""Back-off of the carousel when flash cannot keep up: fewer requests, less wasted reading (Miro, MobiCom 2023, 3.2)."""

from __future__ import annotations

import numpy as np

# (share of a request that is let through, every so many steps). As Miro does it: first the interval is
# stretched, below a fifth it stays at 5 and the share shrinks.
LEVELS = ((1.0, 1), (1.0, 2), (1.0, 4), (0.5, 5), (0.25, 5))
WINDOW = 64  # swaps settled before a decision


class BackOff:
    """Decides how much of a request is let through, from how many of the latest swaps came too late.

    One level down when more are late than the next level would leave out, so that flash stays busy: a level is
    never below what it can serve. One level up after ``patience`` windows without a late swap; each time that
    proves wrong the patience doubles. The clock decides here, so it is for live mode only, and every decision
    goes into the log.
    """

    def __init__(self, patience: int = 4) -> None:
        self.level = 0
        self.patience = self._first_patience = patience
        self._clean = 0
        self._raised = False
        self._done = self._late = 0

    @property
    def share(self) -> float:
        """Of the swaps asked for, those let through in the long run."""
        part, interval = LEVELS[self.level]
        return part / interval

    def admit(self, step: int, slots: np.ndarray) -> np.ndarray:
        """Those of ``slots`` [n] that are asked for at this step, evenly spread over them."""
        part, interval = LEVELS[self.level]
        if interval == 1:
            return slots
        if step % interval:
            return slots[:0]
        keep = int(np.ceil(part * len(slots)))
        return slots[np.arange(keep) * len(slots) // max(keep, 1)]

    def settled(self, done: int, late: int) -> str | None:
        """Tells of swaps that came in time and too late; the decision, if one was taken."""
        self._done += done
        self._late += late
        total = self._done + self._late
        if total < WINDOW:
            return None
        behind, clean = self._late / total, self._late == 0
        self._done = self._late = 0
        if self.level + 1 < len(LEVELS) and behind > 1 - self._share(self.level + 1) / self.share:
            if self._raised:
                self._raised, self.patience = False, min(2 * self.patience, 1024)
            return self._move(1)
        self._clean = self._clean + 1 if clean else 0
        if self._raised and self._clean:
            self._raised, self.patience = False, self._first_patience
        if self.level and self._clean >= self.patience:
            self._raised = True
            return self._move(-1)
        return None

    def _move(self, by: int) -> str:
        self.level += by
        self._clean = 0
        return f"back-off: {self.share:.0%} of the swaps asked for"

    @staticmethod
    def _share(level: int) -> float:
        part, interval = LEVELS[level]
        return part / interval

    def state(self) -> np.ndarray:
        """int64 [5], for a checkpoint."""
        return np.array([self.level, self.patience, self._clean, self._done, self._late], np.int64)

    def load(self, state: np.ndarray) -> None:
        """Continue from `state`."""
        self.level, self.patience, self._clean, self._done, self._late = (int(v) for v in state)
