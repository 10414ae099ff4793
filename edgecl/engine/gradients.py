"""FlatGradients: accumulated gradients in one float32 buffer, a view per parameter."""

from __future__ import annotations

import numpy as np

from .model import Model

Array = np.ndarray


class FlatGradients:
    """Gradients over the living weights of trained parameters, in graph order (see `Gradients`)."""

    def __init__(self, model: Model, dtype: type = np.float32) -> None:
        self._model = model
        self._dtype = dtype
        self.relayout()

    def relayout(self) -> None:
        """Fit the model's present patterns; all gradients become zero."""
        trained = [(n, p.living) for n, p in self._model.parameters.items() if p.spec.trained]
        self.flat: Array = np.zeros(sum(size for _, size in trained), self._dtype)
        self._views: dict[str, Array] = {}
        start = 0
        for name, size in trained:
            self._views[name] = self.flat[start : start + size]
            start += size

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def copy(self) -> Array:
        return self.flat.copy()

    def dot(self, other: Array) -> float:
        return float(np.dot(self.flat.astype(np.float64), other.astype(np.float64)))

    def axpy(self, alpha: float, other: Array) -> None:
        """flat += alpha * other"""
        self.flat += self._dtype(alpha) * other

    def scale(self, alpha: float) -> None:
        self.flat *= self._dtype(alpha)

    def norm(self) -> float:
        return float(np.sqrt(self.dot(self.flat)))
