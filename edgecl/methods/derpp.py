"""Dark experience replay: DER and DER++ (Buzzega et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..errors import BadInput
from ..options import option
from ..parsing import count, real
from .base import SCENARIOS, Method, Term
from .batch import Array, Batch, Draw
from .losses import cross_entropy, mse_logits
from .needs import LOGITS, Needs


def distil(alpha: float, logits: Array, part: Draw, whole: Draw) -> Term:
    """alpha * MSE of the rows ``part`` against their stored logits, as their share of the draw ``whole``."""
    if part.logits is None or part.widths is None or whole.widths is None:
        raise BadInput(
            "The method needs stored logits, the replayed samples have none.",
            "Store the fields that method.offer_fields returns.",
        )
    value, grad = mse_logits(logits, part.logits, part.widths, int(np.count_nonzero(whole.widths)))
    return alpha * value, grad * np.float32(alpha)


class DER(Method):
    """CE(current) + alpha * MSE(logits, stored logits) on one draw."""

    name: ClassVar[str] = "der"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Buzzega et al., NeurIPS 2020"

    alpha: float = option(0.3, real(), "weight of the stored-logits term")

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, fields=(LOGITS,))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return distil(self.alpha, logits, part, whole)


class DERpp(Method):
    """CE(current) + alpha * MSE(logits, stored logits) + beta * CE(replay).

    draws : replay draws a step. 2, the MSE on the first and the cross-entropy on the second, independent one
            (Mammoth, SparCL); 1, both terms on one draw. Default 2 with separate forwards, 1 with one joint
            forward.
    Stored logits are those of the training forward in which the sample was offered.
    """

    name: ClassVar[str] = "der++"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Buzzega et al., NeurIPS 2020"

    alpha: float = option(0.1, real(), "weight of the stored-logits term")
    beta: float = option(0.5, real(), "weight of the replay cross-entropy")
    draws: int = option(None, count(1, 2), "replay draws a step; default: 1, with separate forwards 2")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if self.draws is None:
            self.draws = 2 if self.replay_forward == "separate" else 1

    @property
    def needs(self) -> Needs:
        return Needs(draws=self.draws or 1, fields=(LOGITS,))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        value: float = 0.0
        grad: Array = np.zeros(logits.shape, np.float32)
        if j == 0:
            value, grad = distil(self.alpha, logits, part, whole)
        if j == self.needs.draws - 1:
            hard, hard_grad = cross_entropy(logits, part.y, self._seen_units(batch), count=len(whole))
            value, grad = value + self.beta * hard, grad + np.float32(self.beta) * hard_grad
        return value, grad
