"""SET: sparse evolutionary training (Mocanu et al., Nature Communications 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..errors import BadInput
from ..options import option
from ..parsing import count, fraction
from .base import SparsityPolicy, StepInfo
from .masks import exact_count, newcomers_at_random, positions_of, top_k
from .moves import Change, Moves
from .tensor import Array, Target, Tensor

OPEN_ENDED_EVERY = 100  # steps between exchanges in a stream without epochs, as RigL has them


class SET(SparsityPolicy):
    """Once an epoch the weights nearest to zero leave, as large a share of the positive as of the negative ones, and
    as many come uniformly at random. The density is the same at every step. No gradient is looked at.

    exchanged : share of a tensor's living weights, the paper's zeta
    update_every : steps between exchanges; 0 is once an epoch (and every 100 steps of an open-ended stream)
    """

    name: ClassVar[str] = "set"

    exchanged: float = option(0.3, fraction(True, True), "share of a tensor's living weights exchanged")
    update_every: int = option(0, count(), "steps between exchanges; 0: once an epoch")

    def due(self, info: StepInfo) -> bool:
        """Whether an exchange comes before this step; never before the first of a task."""
        every = self.update_every or (OPEN_ENDED_EVERY if info.epochs is None else 0)
        if every:
            return info.step > 0 and info.step % every == 0
        return info.epoch > 0 and info.iteration == 0

    def move(
        self, tensors: Mapping[str, Tensor], evidence: Mapping[str, Any], info: StepInfo, rng: np.random.Generator
    ) -> Moves | None:
        if not self.due(info):
            return None
        return Moves({name: change for name, t in tensors.items() if (change := self._exchange(t, rng)) is not None})

    def _exchange(self, tensor: Tensor, rng: np.random.Generator) -> Change | None:
        stays = _far_from_zero(tensor.values, self.exchanged)
        pattern = tensor.positions()
        dropped, kept = pattern[~stays], pattern[stays]
        if not dropped.size:
            return None
        grown = newcomers_at_random(kept, tensor.size, dropped.size, rng)
        return Change(tensor.living / tensor.size, dropped=dropped, grown=grown)

    def can_move(self, tensor: Target) -> bool:
        return exact_count(self.exchanged, tensor.count) >= 1

    def check(self, epochs: int | None, steps: int | None) -> None:
        if epochs is None and steps is None:
            return
        enough = epochs is None or epochs > 1
        if self.update_every:
            enough = steps is None or steps > self.update_every
        if not enough:
            every = f"every {self.update_every} steps" if self.update_every else "after each epoch"
            length = f"{steps} steps" if self.update_every else "1 epoch"
            raise BadInput(
                f"SET was asked for but would never exchange a weight: it does so {every}, a task has {length}.",
                "Train for more epochs a task, set a smaller update_every, or use the policy static.",
            )


def _far_from_zero(values: Array, share: float) -> Array:
    """bool [living]: False for the ``share`` of each sign that lies nearest to zero; 0 counts as positive."""
    stays = np.zeros(values.size, bool)
    negative = values < 0
    for positions in (positions_of(negative), positions_of(~negative)):
        keep = positions.size - exact_count(share, positions.size)
        stays[positions[top_k(np.abs(values[positions]), keep)]] = True
    return stays
