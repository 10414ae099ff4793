"""Quadratic: a penalty that holds weights near where a task left them, taken as a stable step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..engine.base import Engine
from .base import Method, Work
from .batch import Array, Batch, Replay
from .context import Context

PIECE = 32768  # weights at a time: arithmetic on whole tensors would take copies of them


def pieces(size: int) -> Iterator[slice]:
    """Slices that cover ``size`` values one after another."""
    return (slice(i, i + PIECE) for i in range(0, size, PIECE))


class Quadratic(Method):
    """Base of EWC and SI: loss + l * sum_i F_i (th_i - th*_i)^2, with ``importance`` F and ``anchor`` th* per weight.

    The step is implicit in the penalty, th <- (th - lr g + 2 lr l F th*) / (1 + 2 lr l F): it cannot diverge, where the
    explicit one does for 2 lr l F > 2. It is taken through the gradient, g' = (g + 2 l F (th - th*)) / (1 + 2 lr l F),
    so masks, freezing and the optimizer hold; with momentum it is no longer exactly implicit.
    """

    name: ClassVar[str] = ""
    importance: ClassVar[str] = ""
    strength: ClassVar[str] = ""  # the option that holds l

    def passes(self, c: Context, work: Work, batch: Batch, replay: Replay, lr: float) -> tuple[Replay, Any]:
        done = super().passes(c, work, batch, replay, lr)
        self.penalise(c.engine, lr)
        return done

    def penalise(self, engine: Engine, lr: float) -> None:
        """Turn the accumulated gradient into that of the implicit step."""
        weight = np.float32(2 * getattr(self, self.strength))
        importance, anchor = engine.per_weight(self.importance), engine.per_weight("anchor")
        for name, p in engine.model.parameters.items():
            if name not in engine.gradients:  # type: ignore[operator]
                continue
            for at in pieces(p.values.size):
                pull, g = weight * importance[name][at], engine.gradients[name][at]
                g += pull * (p.values[at] - anchor[name][at])
                g /= 1 + np.float32(lr) * pull

    def anchor_here(self, engine: Engine) -> None:
        """th* <- th."""
        anchor = engine.per_weight("anchor")
        for name, p in engine.model.parameters.items():
            if name in engine.gradients:  # type: ignore[operator]
                anchor[name][:] = p.values

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return False  # importance and anchors learned from the subject as the weights did
