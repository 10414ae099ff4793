"""Maximally interfered retrieval (Aljundi et al., NeurIPS 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import count
from .base import SCENARIOS, Work
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .er import ER
from .losses import log_softmax
from .needs import Needs, Passes


class MIR(ER):
    """CE(current) + CE of the replayed rows that a step on the current ones would harm most.

    th' = th - lr g with g the gradient of the current rows; of k candidates those with the largest CE(th') - CE(th) are
    replayed, as many as a replay batch has. Both losses by evaluation forwards; th' is discarded.
    """

    name: ClassVar[str] = "mir"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Aljundi et al., NeurIPS 2019"

    k: int = option(50, count(1, 4096), "candidates drawn from the memory in a step")
    batch: int = option(32, count(1), "rows of a batch", run="batch")
    replay_batch: int | None = option(None, count(1), "rows replayed in a step", run="replay_batch")

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._lr = 0.0

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, candidates=self.k, sides=("virtual",), passes=Passes(candidates=2.0))

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        return 1.0, [1.0 if self.beta is None else self.beta] * len(replay)

    def passes(self, c: Context, work: Work, batch: Batch, replay: Replay, lr: float) -> tuple[Replay, Any]:
        self._lr = lr
        return super().passes(c, work, batch, replay, lr)

    def choose(self, c: Context, batch: Batch, candidates: Draw) -> Array:
        side, rows = c.engine.side("virtual"), np.arange(len(candidates))
        side.virtual(self._lr)
        before, after = (
            -log_softmax(c.evaluate(candidates.x, ("logits",), of)["logits"])[rows, candidates.y]
            for of in (None, "virtual")
        )
        harmed = np.argsort(before - after, kind="stable")
        return np.sort(harmed[: self.replay_batch or self.batch])
