"""Streaming linear discriminant analysis (Hayes and Kanan, CVPR workshops 2020)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import fraction
from .batch import Array
from .closed_form import ClosedForm
from .linear_head import LinearHead
from .sums import Sums


class StreamingLDA(ClosedForm):
    """score_c = w_c.f + b_c with w_c = L mu_c, b_c = -mu_c.w_c / 2, L = ((1 - e) S + e (tr S / d) I)^-1.

    S = (G - sum_c s_c s_c^T / n_c) / n is the covariance within classes, of all samples so far. The paper updates it
    sample by sample, with n/(n+1) of all samples where the exact sum has n_c/(n_c+1) of the class; here sums are
    kept, so that order does not matter and samples can be taken out.

    shrinkage : e, as a share of the mean variance; the paper's 1e-4 is absolute
    """

    name: ClassVar[str] = "slda"
    reference: ClassVar[str] = "Hayes and Kanan, CVPRW 2020"
    second: ClassVar[bool] = True

    shrinkage: float = option(1e-4, fraction(low_open=True), "share of the mean variance added to every direction")

    def solve(self, sums: Sums) -> tuple[Array, ...]:
        means, n = sums.means(), max(sums.counts.sum(), 1.0)
        spread = sums.sums / np.sqrt(np.maximum(sums.counts, 1))[:, None]
        within = sums.second_moment()
        within -= spread.T @ spread
        within /= n
        scale = max(float(np.trace(within)) / sums.width, 1e-12)
        within *= 1 - self.shrinkage
        within[np.diag_indices(sums.width)] += self.shrinkage * scale
        weights = np.linalg.solve(within, means.T)
        return weights, -0.5 * (means.T * weights).sum(axis=0)

    def score(self, solved: tuple[Array, ...], features: Array) -> Array:
        return features @ solved[0] + solved[1]

    def layer(self, solved: tuple[Array, ...], known: Array) -> LinearHead:
        # what all classes share is left out: it can be large beside what tells them apart, and a file is float32
        weight, bias = solved[0].T, solved[1]
        return LinearHead(weight - weight[known].mean(axis=0), bias - bias[known].mean(), known)
