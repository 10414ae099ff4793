"""Experience replay (Chaudhry et al. 2019, Mammoth's form)."""

from __future__ import annotations

from typing import ClassVar

from ..options import option
from ..parsing import real
from .base import SCENARIOS, Method, Term
from .batch import Array, Batch, Draw, Replay
from .losses import cross_entropy
from .needs import Needs


class ER(Method):
    """Cross-entropy on current and replayed samples.

    beta : None, the mean over the concatenation [current | replay] (Mammoth); or w,
           CE_current + w * CE_replay (SparCL), each a mean of its own
    """

    name: ClassVar[str] = "er"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Chaudhry et al., 2019"

    beta: float | None = option(None, real(), "weight of the replay cross-entropy; default: by numbers of rows")

    @property
    def needs(self) -> Needs:
        """One draw from the memory each step."""
        return Needs(draws=1)

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        if self.beta is not None:
            return 1.0, [self.beta] * len(replay)
        total = len(batch) + sum(len(d) for d in replay)
        return len(batch) / total, [len(d) / total for d in replay]

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return cross_entropy(logits, part.y, self._seen_units(batch), count=len(whole))
