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

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import choice, count, fraction, real
from . import timing
from .base import SparsityPolicy, StepInfo
from .exchange import exchange
from .look import LAST, NOTHING, TWO, Evidence, Look
from .masks import exact_count
from .moves import Move, Moves
from .tensor import Array, Target, Tensor


class TDM(SparsityPolicy):
    """form : ``released`` or ``paper``
    delta : fraction of a tensor's weights exchanged and expanded, at most half its density
    weight : lambda of the released importance;  alpha, beta : of the paper's
    update_every : steps between updates in an open-ended stream, where only shrink-then-expand runs

    The number of living weights is exact after every update: round((1 - sparsity) * n). A grown weight starts
    at 0 and keeps no optimizer state.
    """

    name: ClassVar[str] = "tdm"

    form: str = option("released", choice(("released", "paper")), "SparCL's schedule", run="sparse_schedule")
    delta: float = option(0.01, fraction(True, True, 0.5), "fraction of a tensor's weights exchanged and expanded")
    weight: float = option(0.5, real(), "of the gradient in the released importance")
    alpha: float = option(0.5, real(), "of the current data's gradient in the paper's importance")
    beta: float = option(0.5, real(), "of the replayed data's gradient in the paper's importance")
    update_every: int = option(100, count(1), "steps between updates in an open-ended stream")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.looks = (TWO,) if self.form == "paper" else (LAST,)

    def due(self, info: StepInfo, density: float) -> Move | None:
        """The exchange before this step for a tensor of target ``density``, or None."""
        delta = self.step_of(density)
        shrink_then_expand = Move(density - delta, density)
        if timing.open_ended(info):
            return shrink_then_expand if info.step and info.step % self.update_every == 0 else None
        at = timing.position(info)
        if at is None:
            return None
        now, total = at
        period = timing.period_epochs(total)
        if self.form == "released":
            if now < period and now < total - period:
                return Move(density, density + delta)
            return shrink_then_expand if now < total - period else Move(density, None)
        expands = info.task is not None and info.task > 0
        if now == 0:
            return Move(None, density + delta) if expands else None
        return Move(density, None) if expands and now == period else shrink_then_expand

    def look(self, info: StepInfo) -> Look:
        if self.form == "paper":
            move = self.due(info, 0.5)
            return TWO if move is not None and move.drop_to is not None else NOTHING
        if timing.open_ended(info):
            return LAST if (info.step + 1) % self.update_every == 0 else NOTHING
        return LAST if timing.last_before_update(info) else NOTHING

    def move(
        self, tensors: Mapping[str, Tensor], evidence: Mapping[str, Evidence], info: StepInfo, rng: np.random.Generator
    ) -> Moves | None:
        if self.due(info, 0.5) is None:  # when, not how far, and that is the same for every tensor
            return None
        changes = {}
        for name, tensor in tensors.items():
            move = self.due(info, tensor.density)
            assert move is not None
            change = exchange(tensor, move, partial(self.importance, tensor, evidence[name]), rng)
            if change is not None:
                changes[name] = change
        return Moves(changes)

    def importance(self, tensor: Tensor, evidence: Evidence) -> Array:
        """Weight importance over the living weights, float32."""
        score = np.abs(tensor.values)
        for factor, gradient in (
            (self.weight, evidence.last),
            (self.alpha, evidence.current),
            (self.beta, evidence.replay),
        ):
            if gradient is not None:
                score += np.float32(factor) * gradient
        return score

    def step_of(self, density: float) -> float:
        """delta for a tensor of this density: at most half of it, so no shrink empties the tensor."""
        return min(self.delta, density / 2)

    def peak_density(self, density: float) -> float:
        return min(1.0, density + self.step_of(density))

    def can_move(self, tensor: Target) -> bool:
        return exact_count(self.peak_density(tensor.density), tensor.size) > tensor.count

    def check(self, epochs: int | None, steps: int | None) -> None:
        timing.check_length("TDM", epochs, steps)
