"""DGM: dynamic gradient masking of SparCL (Wang et al., NeurIPS 2022): which living weights get a gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..engine.model import Parameter
from ..options import Configurable, option
from ..parsing import choice, count, fraction, real
from .base import StepInfo
from .masks import Array, exact_count, top_k


class DGM(Configurable):
    """keep : fraction of the target's living weights that are trained, (0, 1)
    refresh : iterations between refreshes; the count restarts with every epoch
    form : ``released``, by |gradient of the whole loss| at the refresh step; ``paper``, by
        alpha |g_current| + beta |g_replay| (CGI, equation 3)

    Per tensor exactly round(keep * target density * n) weights are trained, also while TDM has it denser.
    On a refresh step the gradient of all living weights is computed, then the subset is chosen and that same
    step already uses it (released); the paper's form knows the subset before the step. A refresh also follows
    every pattern change, as the old subset has lost its meaning.
    """

    name: ClassVar[str] = "dgm"

    keep: float = option(0.8, fraction(True, True), "share of living weights that get a gradient", run="gradient_keep")
    refresh: int = option(30, count(1), "iterations between refreshes of the gradient mask")
    form: str = option("released", choice(("released", "paper")), "SparCL's schedule", run="sparse_schedule")
    alpha: float = option(0.5, real(), "of the current data's gradient in the paper's importance")
    beta: float = option(0.5, real(), "of the replayed data's gradient in the paper's importance")

    def due(self, info: StepInfo, pattern_changed: bool) -> bool:
        count = info.step if info.epoch_steps is None else info.iteration
        return pattern_changed or count % self.refresh == 0

    def subset(self, parameter: Parameter, density: float, importance: Array, among: Array | None = None) -> Array:
        """Positions within the living weights that keep their gradient: int32, sorted.

        among : int32, sorted positions to choose from; None is all living weights
        """
        count = max(1, exact_count(self.keep * density, parameter.spec.size))
        return top_k(importance, count) if among is None else among[top_k(importance[among], count)]

    def importance(self, current: Array, replay: Array | None) -> Array:
        """The paper's continual gradient importance, float32 [living]."""
        score = np.float32(self.alpha) * current
        return score if replay is None else score + np.float32(self.beta) * replay
