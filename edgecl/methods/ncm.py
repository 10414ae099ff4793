"""Nearest class mean."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import flag
from .batch import Array
from .closed_form import ClosedForm
from .linear_head import LinearHead
from .sums import Sums


class NCM(ClosedForm):
    """The class whose mean feature is nearest: score_c = -|| f/|f| - mu_c/|mu_c| ||^2 (Mensink et al., PAMI 2013).

    normalise : whether features and means are brought to length one first
    A class without a sample scores -inf.
    """

    name: ClassVar[str] = "ncm"
    reference: ClassVar[str] = "Mensink et al., PAMI 2013"

    normalise: bool = option(True, flag, "bring features and means to length one")

    def solve(self, sums: Sums) -> tuple[Array, ...]:
        return (self._unit(sums.means()),)

    def score(self, solved: tuple[Array, ...], features: Array) -> Array:
        f, (mu,) = self._unit(features), solved
        return 2 * f @ mu.T - (mu**2).sum(axis=1) - (f**2).sum(axis=1, keepdims=True)

    def layer(self, solved: tuple[Array, ...], known: Array) -> LinearHead:
        (mu,) = solved
        length = 1.0 if self.normalise else 0.0  # |f|^2, which else differs between samples, not between classes
        return LinearHead(2 * mu, -(mu**2).sum(axis=1) - length, known, unit=self.normalise)

    def _unit(self, rows: Array) -> Array:
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) if self.normalise else rows
