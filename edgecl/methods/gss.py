"""Gradient-based sample selection in its last-layer form (Aljundi et al., NeurIPS 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import count
from .base import SCENARIOS, StepResult
from .batch import Array, Batch
from .context import Context
from .er import ER
from .losses import log_softmax
from .needs import Needs, Passes


class GSS(ER):
    """ER over a memory of samples with unlike gradients: score(x) = 1 + max over k random held rows of cos(g_x, g_j).

    g is the gradient of the classifier alone, (p - y) outer [f, 1], so that <g_i, g_j> = ((p_i - y_i).(p_j - y_j))
    (f_i.f_j + 1): one forward over the k rows and no backward, where the paper has one per compared row.
    """

    name: ClassVar[str] = "gss"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Aljundi et al., NeurIPS 2019"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "diverse"}

    k: int = option(10, count(1, 4096), "held rows that the offered ones are compared with")
    batch: int = option(32, count(1), "rows of a batch", run="batch")

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, fetch=("logits", "features"), passes=Passes(forward=self.k / self.batch))

    def accept(self, c: Context, batch: Batch, result: StepResult) -> tuple[Array | None, Array | None]:
        held = c.memory.draw(c.rng, self.k)
        if not len(held):
            return None, np.ones(len(batch))
        outs = c.evaluate(c.memory.samples[held], ("logits", "features"))
        there = outs["logits"], outs["features"], c.memory.classes[held]
        return None, 1 + largest_cosine((result.logits_current, result.outs["features"], batch.y), there)


def largest_cosine(a: tuple[Array, Array, Array], b: tuple[Array, Array, Array]) -> Array:
    """float64 [n]: for each row of ``a`` the largest cosine of its last-layer gradient with one of ``b``. Each is
    (logits [n, C], features [n, ...], y [n])."""
    (ea, fa), (eb, fb) = _factors(*a), _factors(*b)
    products = (ea @ eb.T) * (fa @ fb.T + 1)
    size_a, size_b = (np.sqrt((e**2).sum(axis=1) * ((f**2).sum(axis=1) + 1)) for e, f in ((ea, fa), (eb, fb)))
    cosines = products / np.maximum(size_a[:, None] * size_b[None, :], 1e-12)
    best: Array = cosines.max(axis=1)
    return np.clip(best, -1, 1)


def _factors(logits: Array, features: Array, y: Array) -> tuple[Array, Array]:
    """(p - y, f) in float64; <g, g'> is the product of their products, with 1 added to that of the features."""
    e = np.exp(log_softmax(logits))
    e[np.arange(len(y)), y] -= 1
    return e, features.reshape(len(features), -1).astype(np.float64)
