"""What a clock, a load or a sensor decided, in the order of steps, in bounded RAM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Decision = tuple[int, int, str]  # step, slot of the memory or -1, what

FREQUENT = ("queue full", "back-off", "flash budget")  # beside the swaps that were lost, which name a slot


def is_frequent(decision: Decision) -> bool:
    """May come every step for years; no replay asks for it."""
    return decision[1] >= 0 or decision[2].startswith(FREQUENT)


class DecisionLog(list[Decision]):
    """Add with `append`. Of the frequent entries the newest are kept, at most ``limit`` and after a cut half of them:
    a slow card loses swaps for years. ``cut`` counts those that went. All others (governor, Miro, shedding) stay.
    """

    def __init__(self, limit: int = 8192) -> None:
        super().__init__()
        self.limit, self.cut = limit, 0
        self._frequent = 0

    def append(self, decision: Decision) -> None:
        super().append(decision)
        self._frequent += is_frequent(decision)
        if self._frequent > self.limit:
            self._shorten()

    def restore(self, decisions: Iterable[Any], cut: int = 0) -> None:
        """The log as it was saved: ``[step, slot, what]`` each."""
        self[:] = [(int(step), int(slot), str(what)) for step, slot, what in decisions]
        self._frequent, self.cut = sum(map(is_frequent, self)), cut

    def _shorten(self) -> None:
        go = self._frequent - self.limit // 2
        self.cut += go
        self._frequent -= go
        kept = []
        for decision in self:
            if go and is_frequent(decision):
                go -= 1
            else:
                kept.append(decision)
        self[:] = kept
