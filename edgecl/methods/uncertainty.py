"""Rainbow Memory's choice (Bang et al., CVPR 2021): samples spread over the range of uncertainty."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .chosen import Array, Chosen, by_pieces


class Uncertainty(Chosen):
    """u = 1 - share of a sample's views that get its most frequent prediction; sorted by u, every (n / quota)-th stays.

    Views: moved by up to an eighth of the picture, brightness and contrast changed by up to a fifth. Samples of equal u
    come in random order.
    """

    name = "uncertainty"
    fetch: ClassVar[tuple[str, ...]] = ("logits",)
    views: ClassVar[int] = 8

    def rank(self, evaluate: Any, x: Array, quota: int, rng: np.random.Generator) -> Array:
        found = np.stack([by_pieces(evaluate, view(x, rng), "logits").argmax(axis=1) for _ in range(self.views)])
        most = np.array([np.bincount(votes).max() for votes in found.T])
        order = np.lexsort((rng.permutation(len(x)), 1 - most / self.views))
        if len(x) <= quota:
            return order
        return order[(np.arange(quota) * len(x)) // quota]

    def shrink(self, evaluate: Any, x: Array, quota: int, rng: np.random.Generator) -> Array:
        return self.rank(evaluate, x, quota, rng)


def view(x: Array, rng: np.random.Generator) -> Array:
    """Samples [n, C, H, W] a little moved, brighter or darker; dtype and range of values stay."""
    moves = [int(rng.integers(-(n // 8), n // 8 + 1)) for n in x.shape[-2:]]
    moved = x
    for axis, by in zip((-2, -1), moves):  # what would come from outside repeats the edge
        n = x.shape[axis]
        moved = np.take(moved, np.clip(np.arange(n) - by, 0, n - 1), axis=axis)
    shape = (len(x), *(1,) * (x.ndim - 1))
    low, high = (0, 255) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
    changed = moved * rng.uniform(0.8, 1.2, shape) + rng.uniform(-0.2, 0.2, shape) * (high - low)
    changed = np.clip(changed, low, high)
    return np.rint(changed).astype(x.dtype) if x.dtype.kind in "ui" else changed.astype(x.dtype)
