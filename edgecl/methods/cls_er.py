"""Complementary learning systems ER (Arani et al., ICLR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import fraction, real
from .base import SCENARIOS, StepResult, Term
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .er import ER
from .losses import log_softmax, mse_logits
from .needs import Needs, Passes

SIDES = ("plastic", "stable")


class CLSER(ER):
    """CE([current | replay]) + w * MSE(z_replay, t): t are the logits of that one of two averages of the weights,
    plastic and stable, which gives the true class the higher probability. The stable one predicts.

    After each step an average moves with its probability, th_bar <- a th_bar + (1 - a) th with a_k = min(1 - 1/k, a) at
    its k-th move (the authors count steps, which keeps a share of the initial weights). Batch-norm statistics are
    averaged alike, and averages are evaluated, not trained through.
    """

    name: ClassVar[str] = "cls-er"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Arani et al., ICLR 2022"

    consistency: float = option(0.15, real(), "weight w of the distance to the averages' logits")
    plastic_rate: float = option(0.9, fraction(), "probability that the plastic average moves in a step")
    stable_rate: float = option(0.1, fraction(), "probability that the stable average moves in a step")
    plastic_decay: float = option(0.999, fraction(high_open=True), "a of the plastic average")
    stable_decay: float = option(0.999, fraction(high_open=True), "a of the stable average")

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._moves = dict.fromkeys(SIDES, 0)

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, sides=SIDES, predict_side="stable", passes=Passes(forward=2.0))

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        if c.engine.side("stable").empty:
            return batch, replay
        return batch, [self._with_target(c, d) for d in replay]

    def _with_target(self, c: Context, d: Draw) -> Draw:
        """A draw with the logits of the average that knows each row better, as ``extra['target']``."""
        logits = [c.evaluate(d.x, ("logits",), side)["logits"] for side in SIDES]
        plastic, stable = (log_softmax(z)[np.arange(len(d)), d.y] for z in logits)
        target = np.where((plastic > stable)[:, None], logits[0], logits[1])
        return replace(d, extra={**d.extra, "target": target})

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        value, grad = super().replay_term(j, logits, part, whole, batch)
        target = part.extra.get("target")
        if target is None:
            return value, grad
        known = np.isfinite(target).all(axis=0)
        width = int(known.argmin()) if not known.all() else known.size  # units that came since the average moved
        widths = np.full(len(part), width, np.int64)
        soft, soft_grad = mse_logits(logits, target[:, :width], widths, len(whole))
        # the term's weight is its share of the rows; the distance counts whole
        share = self.consistency * (1.0 if self.beta is not None else (len(batch) + len(whole)) / len(whole))
        return value + share * soft, grad + np.float32(share) * soft_grad

    def after_step(self, c: Context, result: StepResult) -> None:
        for side, rate, decay in (
            ("plastic", self.plastic_rate, self.plastic_decay),
            ("stable", self.stable_rate, self.stable_decay),
        ):
            held = c.engine.side(side)
            if c.rng.random() < rate or held.empty:
                self._moves[side] += 1
                held.blend(min(1 - 1 / self._moves[side], decay))

    def state(self) -> dict[str, Array]:
        return {"moves": np.array([self._moves[side] for side in SIDES], np.int64)}

    def load(self, state: Mapping[str, Array]) -> None:
        self._moves = {side: int(n) for side, n in zip(SIDES, state["moves"])}

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return False  # the averages learned from the subject as the weights did
