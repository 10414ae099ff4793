"""Flat arrays over living trained weights: the accumulated gradients, and what a method keeps per weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .model import Model

Array = np.ndarray
PIECE = 8192  # values at a time


class Flat:
    """One array over the living weights of ``names``, in that order, and a view per parameter (see `Gradients`).

    names : by default all parameters that can be trained
    """

    def __init__(self, model: Model, dtype: type = np.float32, names: Sequence[str] | None = None) -> None:
        self._model, self._dtype = model, dtype
        everything = [n for n, p in model.parameters.items() if p.spec.trained]
        self.relayout(everything if names is None else names)

    def relayout(self, names: Sequence[str]) -> None:
        """Fit the present patterns of ``names``; everything becomes zero."""
        trained = [(n, self._model[n].living) for n in names]
        self.flat: Array = np.zeros(sum(size for _, size in trained), self._dtype)
        self._views: dict[str, Array] = {}
        start = 0
        for name, size in trained:
            self._views[name] = self.flat[start : start + size]
            start += size

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def get(self, name: str) -> Array | None:
        return self._views.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def copy(self) -> Array:
        return self.flat.copy()

    def dot(self, other: Array) -> float:
        """In float64, a piece at a time: nothing of the array's size is made."""
        pieces = range(0, self.flat.size, PIECE)
        return sum(
            float(np.dot(self.flat[i : i + PIECE].astype(np.float64), other[i : i + PIECE].astype(np.float64)))
            for i in pieces
        )

    def axpy(self, alpha: float, other: Array) -> None:
        """flat += alpha * other"""
        for at in range(0, self.flat.size, PIECE):
            self.flat[at : at + PIECE] += self._dtype(alpha) * other[at : at + PIECE]

    def scale(self, alpha: float) -> None:
        self.flat *= self._dtype(alpha)

    def norm(self) -> float:
        return float(np.sqrt(self.dot(self.flat)))


class FlatGradients(Flat):
    """Accumulated gradients: zero after every change of layout, but for `keep`."""

    def keep(self, names: Sequence[str], changed: str) -> None:
        """Fit the new pattern of ``changed``, whose gradient becomes zero; those of the others stay."""
        before = self._views
        self.relayout(names)
        for name, gradient in before.items():
            if name != changed:
                self._views[name][:] = gradient


class PerWeight(Flat):
    """An array that a method keeps per weight: `Parameter.per_weight` holds its views, which follow every change."""

    def __init__(self, model: Model, names: Sequence[str], kind: str) -> None:
        self._kind = kind
        super().__init__(model, names=names)

    def relayout(self, names: Sequence[str]) -> None:
        """Fit the present patterns; what the parameters hold is kept, zero where they hold nothing."""
        super().relayout(names)
        for name, view in self._views.items():
            held = self._model[name].per_weight
            if self._kind in held:
                view[:] = held[self._kind]
            held[self._kind] = view
