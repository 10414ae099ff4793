"""RigL: weights come where the dense gradient is largest (Evci et al., ICML 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..errors import BadInput
from ..options import option
from ..parsing import count, fraction
from .base import SparsityPolicy, StepInfo
from .exchange import exchange_for_candidates
from .look import NOTHING, Dense, Evidence, Look
from .masks import exact_count
from .moves import Moves
from .tensor import Target, Tensor


class RigL(SparsityPolicy):
    """Every ``update_every`` steps the smallest |w| leave and as many dead weights with the largest |dense gradient|
    come, both of the step before. The exchanged share falls as a cosine over ``until`` of the task and starts anew with
    the next; in an open-ended stream it stays. A weight that leaves cannot come back in the same exchange.

    exchanged : share of a tensor's living weights at the start, the paper's alpha
    update_every : steps between exchanges, the paper's delta T
    until : share of a task after which the pattern stands
    """

    name: ClassVar[str] = "rigl"

    exchanged: float = option(0.3, fraction(True, True), "share of a tensor's living weights exchanged at the start")
    update_every: int = option(100, count(1), "steps between exchanges")
    until: float = option(0.75, fraction(low_open=True), "share of a task after which the pattern stands")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.looks = (Dense(top=self.exchanged),)

    def share(self, step: int, steps: int | None) -> float:
        """Share exchanged before step ``step`` of ``steps``; 0 when none is due."""
        if step < 1 or step % self.update_every:
            return 0.0
        if steps is None:
            return self.exchanged
        end = self.until * steps
        return 0.0 if step >= end else self.exchanged / 2 * (1 + math.cos(math.pi * step / end))

    def look(self, info: StepInfo) -> Look:
        share = self.share(info.step + 1, info.steps)
        return Dense(top=share) if share else NOTHING

    def move(
        self, tensors: Mapping[str, Tensor], evidence: Mapping[str, Evidence], info: StepInfo, rng: np.random.Generator
    ) -> Moves | None:
        share = self.share(info.step, info.steps)
        if not share:
            return None
        changes = {}
        for name, tensor in tensors.items():
            dead = evidence[name].dead
            if dead is not None:
                change = exchange_for_candidates(tensor, exact_count(share, tensor.living), dead)
                if change is not None:
                    changes[name] = change
        return Moves(changes)

    def can_move(self, tensor: Target) -> bool:
        return exact_count(self.exchanged, tensor.count) >= 1 and tensor.count > 1

    def check(self, epochs: int | None, steps: int | None) -> None:
        if steps is not None and not any(self.share(s, steps) for s in range(0, steps, self.update_every)):
            raise BadInput(
                f"RigL was asked for but would never exchange a weight: it does so every {self.update_every} steps in "
                f"the first {self.until:.0%} of a task, a task has {steps} steps.",
                "Train for more epochs a task, set a smaller update_every, or use the policy static.",
            )
