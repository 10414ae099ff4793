"""Herding (Welling 2009; iCaRL): samples whose mean feature stays nearest the class's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chosen import Array, Chosen, by_pieces


class Herding(Chosen):
    """Sample k is that which brings the mean of the first k normalised features nearest to the class's mean. Old
    classes keep their first ones.
    """

    name = "herding"

    def rank(self, evaluate: Any, x: Array, quota: int, rng: np.random.Generator) -> Array:
        f = by_pieces(evaluate, x, "features").astype(np.float64)
        return herd(f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12), quota)


def herd(features: Array, count: int) -> Array:
    """Rows in the order in which they keep the running mean nearest to the mean of all [n, d]: int [min(count, n)]."""
    mean, total = features.mean(axis=0), np.zeros(features.shape[1])
    left = np.ones(len(features), bool)
    chosen: list[int] = []
    for k in range(1, min(count, len(features)) + 1):
        distance = ((mean - (total + features) / k) ** 2).sum(axis=1)
        best = int(np.argmin(np.where(left, distance, np.inf)))
        chosen.append(best)
        left[best] = False
        total = total + features[best]
    return np.array(chosen, np.int64)
