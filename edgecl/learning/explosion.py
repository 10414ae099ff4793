"""Explosion: a loss that stays finite and has left every bound that learning keeps to."""

from __future__ import annotations

import math

from ..budget.stop import EXPLODED

TIMES = 1000.0  # the loss of a guess among all classes: above it a loss is suspect
LEAP = 100.0  # times the call's first loss: a suspect one above that has ruined the weights, whatever comes next
IN_A_ROW, SETTLED = 5, 20  # suspect steps in a row after so many steps that end the call without a leap


class Explosion:
    """Watches the losses of one call.

    classes : of the head; a guess among them has the loss ln(classes)
    """

    def __init__(self, classes: int) -> None:
        self.guess = math.log(max(classes, 2))
        self._steps = self._above = 0
        self._first = self._last = 0.0

    def after(self, loss: float) -> bool:
        """Whether the loss has exploded."""
        if self._steps == 0:
            self._first = loss
        self._steps, self._last = self._steps + 1, loss
        suspect = loss > max(TIMES * self.guess, self._first)
        self._above = self._above + 1 if suspect and self._steps > SETTLED else 0
        return self._above >= IN_A_ROW or (suspect and loss > LEAP * self._first)

    @property
    def text(self) -> str:
        return (
            f"{EXPLODED} to {self._last:.3g}, {self._last / self.guess:.2g} times that of a guess: lower lr, or "
            "check the values of the samples"
        )
