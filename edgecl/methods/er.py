"""Experience replay (Chaudhry et al. 2019, Mammoth's form)."""

from __future__ import annotations

from typing import Any, ClassVar

from .base import Method, Needs, Term, check_weight
from .batch import Array, Batch, Draw, Replay
from .losses import cross_entropy


class ER(Method):
    """Cross-entropy on current and replayed samples.

    beta : None, the mean over the concatenation [current | replay] (Mammoth); or w,
           CE_current + w * CE_replay (SparCL), each a mean of its own
    """

    name: ClassVar[str] = "er"

    def __init__(self, *, beta: float | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.beta = None if beta is None else check_weight("beta", beta)

    @property
    def needs(self) -> Needs:
        return Needs(draws=1)

    def hyper(self) -> dict[str, Any]:
        return {"beta": self.beta, **super().hyper()}

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        if self.beta is not None:
            return 1.0, [self.beta] * len(replay)
        total = len(batch) + sum(len(d) for d in replay)
        return len(batch) / total, [len(d) / total for d in replay]

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return cross_entropy(logits, part.y, self._seen_units(batch), count=len(whole))
