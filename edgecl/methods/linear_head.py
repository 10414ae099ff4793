"""LinearHead: a linear layer over the features that scores as a method does, for files that hold no method."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class LinearHead:
    """Scores W h + b of the classifier's input f, up to a number that all classes of a sample share.

    weight : float64 [C, m];  bias : float64 [C]
    known : bool [C], the classes that have a score at all; rows of others are zeros
    unit : whether f is brought to length one first
    hidden : float32 [m, d], then h = relu(hidden f); None: h = f
    """

    weight: Array
    bias: Array
    known: Array
    unit: bool = False
    hidden: Array | None = None

    def of(self, classes: int) -> LinearHead:
        """The same for ``classes`` classes: those more than it has are not known."""
        n = min(classes, len(self.weight))
        weight, bias, known = np.zeros((classes, self.weight.shape[1])), np.zeros(classes), np.zeros(classes, bool)
        known[:n] = self.known[:n]
        weight[:n], bias[:n] = np.where(known[:n, None], self.weight[:n], 0), np.where(known[:n], self.bias[:n], 0)
        return replace(self, weight=weight, bias=bias, known=known)

    def scores(self, raw: Array) -> Array:
        """float64 [n, C] of the classifier's inputs [n, ...]."""
        f = raw.reshape(len(raw), -1).astype(np.float64)
        if self.unit:
            f = f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12)
        if self.hidden is not None:
            f = np.maximum(f @ self.hidden.T.astype(np.float64), 0)
        return f @ self.weight.T + self.bias
