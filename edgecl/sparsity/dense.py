"""DeadGradients: the largest gradients of weights that do not live, gathered without a dense buffer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..engine.base import Engine
from .look import Candidates
from .masks import top_k

Array = np.ndarray

BLOCK = 65536  # weights of the largest block that an engine's dense visit hands out


class DeadGradients:
    """Takes the blocks of `Engine.visit_dense_gradients` over every forward and backward of a step.

    A step may go back several times (micro-batches, replay forwarded apart); its gradient is their sum. For the
    candidates the sums are kept, 8 bytes each. A weight that becomes one in a later backward counts from there on, so
    its score is off by no more than the lowest score kept before. With a single backward scores are exact.

    Parameters
    ----------
    engine : whose model's patterns say what lives
    counts : candidates to keep, by tensor
    """

    def __init__(self, engine: Engine, counts: Mapping[str, int]) -> None:
        self._model = engine.model
        self._counts = {n: min(k, self._dead(n)) for n, k in counts.items()}
        self._found = {n: (np.zeros(0, np.int32), np.zeros(0, np.float32)) for n in counts}

    def _dead(self, name: str) -> int:
        p = self._model[name]
        return p.spec.size - p.living

    def visit(self, name: str, rows: range, block: Array) -> None:
        """Add one block, float32 [rows, ...], of one backward."""
        count, pattern = self._counts[name], self._model[name].pattern
        if not count or pattern is None:
            return
        gradient = block.reshape(-1)
        start = rows.start * (gradient.size // len(rows))
        stop = start + gradient.size
        positions, sums = self._found[name]
        first, last = np.searchsorted(positions, (start, stop))
        known = positions[first:last] - start
        sums[first:last] += gradient[known]
        scores = np.abs(gradient)
        alive = slice(*np.searchsorted(pattern, (start, stop)))
        scores[pattern[alive] - start] = -1
        scores[known] = -1
        if positions.size == count:  # nothing below the lowest kept can enter
            new = np.flatnonzero(scores > np.abs(sums).min()).astype(np.int32)
        else:
            new = np.flatnonzero(scores >= 0).astype(np.int32)
        if not new.size:
            return
        new = new[top_k(scores[new], count)]
        positions = np.concatenate([positions, new + np.int32(start)])
        sums = np.concatenate([sums, gradient[new]])
        order = np.argsort(positions, kind="stable")
        positions, sums = positions[order], sums[order]
        best = top_k(np.abs(sums), count)
        self._found[name] = positions[best], sums[best]

    def candidates(self) -> dict[str, Candidates]:
        """What was found, by tensor."""
        return {n: Candidates(positions, np.abs(sums)) for n, (positions, sums) in self._found.items()}
