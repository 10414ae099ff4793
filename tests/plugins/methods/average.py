"""Experience replay that predicts with an average of its weights (temporal ensembling)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgecl.methods import ER
from edgecl.options import option
from edgecl.parsing import fraction


class AverageER(ER):
    """th_bar <- a th_bar + (1 - a) th after each step, a = min(1 - 1/(k + 1), decay) at the k-th; th_bar predicts."""

    name: ClassVar[str] = "average-outside"
    contract: ClassVar[int] = 1

    decay: float = option(0.99, fraction(), "share of the average that a step keeps")

    def __init__(self, **given):
        super().__init__(**given)
        self.updates = 0

    @property
    def needs(self):
        return replace(super().needs, sides=("ema",), predict_side="ema")

    def after_step(self, c, result):
        c.engine.side("ema").blend(min(1 - 1 / (self.updates + 1), self.decay))
        self.updates += 1

    def state(self):
        return {"updates": np.array([self.updates])}

    def load(self, state):
        self.updates = int(state["updates"][0])
