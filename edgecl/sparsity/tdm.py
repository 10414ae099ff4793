"""TDM: task-aware dynamic masking of SparCL (Wang et al., NeurIPS 2022).

Released form, at E = 50 epochs a task and target sparsity s (offsets of 0.01):

    epoch 0            prune to s         grow to s - 0.01    expansion at the task's start
    epochs 5, .., 40   prune to s + 0.01  grow to s           shrink, then expand
    epoch 45           prune to s         -                   frozen to the task's end

by the importance |w| + 0.5 |g|, g the gradient of the last step before the update. Paper form: importance
|w| + alpha |g_current| + beta |g_replay| (CWI, equation 1); from the second task on expand first, prune back
to s one period later; in every other period prune to s + delta and grow to s.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..engine.model import Parameter
from ..errors import BadInput
from . import timing
from .base import Array, Importances, StepInfo, Update
from .masks import exact_count, grow_at_random, top_k


class TDM:
    """form : ``released`` or ``paper``
    delta : fraction of a tensor's weights exchanged and expanded, at most half its density
    weight : lambda of the released importance;  alpha, beta : of the paper's
    update_every : steps between updates in an open-ended stream, where only shrink-then-expand runs

    The number of living weights is exact after every update: round((1 - sparsity) * n). A grown weight starts
    at 0 and keeps no optimizer state.
    """

    name: ClassVar[str] = "tdm"

    def __init__(
        self,
        *,
        form: str = "released",
        delta: float = 0.01,
        weight: float = 0.5,
        alpha: float = 0.5,
        beta: float = 0.5,
        update_every: int = 100,
    ) -> None:
        if form not in ("released", "paper"):
            raise BadInput(f"The form of TDM is '{form}'.", "Use one of: released, paper.")
        if not 0.0 < delta < 0.5:
            raise BadInput(f"TDM's delta is {delta}.", "Use a fraction above 0 and below 0.5.")
        if update_every < 1:
            raise BadInput(f"update_every is {update_every}.", "Use at least 1 step.")
        self.form, self.delta, self.weight = form, delta, weight
        self.alpha, self.beta, self.update_every = alpha, beta, update_every
        self.two_gradients = form == "paper"
        self.last_gradient = form == "released"

    def due(self, info: StepInfo) -> Update | None:
        if timing.open_ended(info):
            return Update(1, 0) if info.step and info.step % self.update_every == 0 else None
        at = timing.position(info)
        if at is None:
            return None
        return self._paper_update(info, *at) if self.form == "paper" else self._released_update(*at)

    @staticmethod
    def _released_update(now: int, total: int) -> Update:
        period = timing.period_epochs(total)
        if now < period and now < total - period:
            return Update(0, -1)
        return Update(1, 0) if now < total - period else Update(0, None)

    @staticmethod
    def _paper_update(info: StepInfo, now: int, total: int) -> Update | None:
        expands = info.task is not None and info.task > 0
        if now == 0:
            return Update(None, -1) if expands else None
        return Update(0, None) if expands and now == timing.period_epochs(total) else Update(1, 0)

    def due_after(self, info: StepInfo) -> bool:
        if timing.open_ended(info):
            return (info.step + 1) % self.update_every == 0
        return timing.last_before_update(info)

    def importance(self, parameter: Parameter, importances: Importances) -> Array:
        """Weight importance over the living weights, float32."""
        score = np.abs(parameter.values)
        for factor, gradient in (
            (self.weight, importances.last),
            (self.alpha, importances.current),
            (self.beta, importances.replay),
        ):
            if gradient is not None:
                score += np.float32(factor) * gradient
        return score

    def new_patterns(
        self,
        parameter: Parameter,
        density: float,
        update: Update,
        importances: Importances,
        rng: np.random.Generator,
    ) -> list[Array]:
        assert parameter.pattern is not None
        pattern, size = parameter.pattern, parameter.spec.size
        delta = self.step_of(density)
        stages = []
        if update.prune is not None:
            keep = exact_count(density - update.prune * delta, size)
            if keep < pattern.size:
                pattern = pattern[top_k(self.importance(parameter, importances), keep)]
                stages.append(pattern)
        if update.grow is not None:
            target = exact_count(density - update.grow * delta, size)
            if target > pattern.size:
                stages.append(grow_at_random(pattern, size, target - pattern.size, rng))
        return stages

    def step_of(self, density: float) -> float:
        """delta for a tensor of this density: at most half of it, so no shrink empties the tensor."""
        return min(self.delta, density / 2)

    def max_density(self, density: float) -> float:
        return min(1.0, density + self.step_of(density))

    def check(self, epochs: int | None, steps: int | None) -> None:
        timing.check_length("TDM", epochs, steps)
