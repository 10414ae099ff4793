"""Ridge regression as a classifier: RanPAC (NeurIPS 2023) and ACIL (NeurIPS 2022), by their sums."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import count, real
from .batch import Array
from .closed_form import ClosedForm
from .linear_head import LinearHead
from .sums import Sums


class Ridge(ClosedForm):
    """W = (G + l I)^-1 Q with G = sum h h^T, Q = sum h onehot(y)^T; score = W^T h.

    The joint ridge solution of everything seen, whatever its order. h = f, or relu(V f) with V [m, d] drawn from
    ``random_seed``: two devices with one seed can be merged.

    l : weight of |W|^2;  random_features : m, 0 for the features as they are
    """

    name: ClassVar[str] = "ridge"
    reference: ClassVar[str] = "McDonnell et al., NeurIPS 2023"
    second: ClassVar[bool] = True

    l: float = option(0.1, real(0.0, True), "ridge: weight of the squared norm of the head")  # noqa: E741
    random_features: int = option(0, count(0, 20000), "random features before the head; 0: the body's own")
    random_seed: int = option(0, count(0), "seed that the random features are drawn from")

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._projection: Array | None = None

    def bytes(self, width: int, classes: int) -> int:
        m = self.random_features
        return super().bytes(m, classes) + 4 * m * width if m else super().bytes(width, classes)

    def features(self, raw: Array) -> Array:
        f = super().features(raw)
        if not self.random_features:
            return f
        if self._projection is None or self._projection.shape[1] != f.shape[1]:
            rng = np.random.Generator(np.random.PCG64(self.random_seed))
            drawn = rng.standard_normal((self.random_features, f.shape[1]), np.float32)
            self._projection = drawn / np.float32(np.sqrt(f.shape[1]))
        return np.maximum(f @ self._projection.T, 0)

    def solve(self, sums: Sums) -> tuple[Array, ...]:
        moment = sums.second_moment()
        moment[np.diag_indices(sums.width)] += self.l
        return (np.linalg.solve(moment, sums.sums.T),)

    def score(self, solved: tuple[Array, ...], features: Array) -> Array:
        return features @ solved[0]

    def layer(self, solved: tuple[Array, ...], known: Array) -> LinearHead:
        weight = solved[0].T
        return LinearHead(weight, np.zeros(len(weight)), known, hidden=self._projection)
