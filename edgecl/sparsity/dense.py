"""DeadGradients: the largest gradients of weights that do not live, gathered without a dense buffer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..engine.base import Engine
from .look import Candidates
from .masks import positions_of, top_k

Array = np.ndarray

BLOCK = 65536  # weights of the largest block that an engine's dense visit hands out


GATHERED = 2  # candidates held during a step, over those kept: they are to be the best of the step's whole gradient
GATHER_BYTES = 8 * 2 * GATHERED  # a kept candidate, during a step: position and sum, of earlier backwards and of this


class DeadGradients:
    """Takes the blocks of `Engine.visit_dense_gradients` over every forward and backward of a step.

    A step may go back several times (micro-batches, replay forwarded apart); its gradient is their sum. With a single
    backward the candidates are exact. With several, sums are held for twice as many as are kept; a weight that enters
    in a later backward counts from there on, so its score is off by no more than the lowest that was held before.

    Parameters
    ----------
    engine : whose model's patterns say what lives
    counts : candidates to keep, by tensor
    """

    def __init__(self, engine: Engine, counts: Mapping[str, int]) -> None:
        self._model = engine.model
        self._counts = {n: min(k, self._dead(n)) for n, k in counts.items()}
        nothing = (np.zeros(0, np.int32), np.zeros(0, np.float32))
        self._known = dict.fromkeys(counts, nothing)  # positions sorted, sums; of earlier backwards
        self._fresh = dict.fromkeys(counts, nothing)  # the best others of this one

    def _dead(self, name: str) -> int:
        p = self._model[name]
        return p.spec.size - p.living

    def visit(self, name: str, rows: range, block: Array) -> None:
        """Add one block, float32 [rows, ...], of one backward. The blocks of a backward come from the first row on."""
        count, pattern = GATHERED * self._counts[name], self._model[name].pattern
        if not count or pattern is None:
            return
        if rows.start == 0:
            self._merge(name)
        gradient = block.reshape(-1)
        start = rows.start * (gradient.size // len(rows))
        stop = start + gradient.size
        scores = np.abs(gradient)
        alive = slice(*np.searchsorted(pattern, (start, stop)))
        scores[pattern[alive] - start] = -1
        positions, sums = self._known[name]
        if positions.size:
            first, last = np.searchsorted(positions, (start, stop))
            known = positions[first:last] - start
            sums[first:last] += gradient[known]
            scores[known] = -1
        positions, sums = self._fresh[name]
        # what is below the lowest of a full list cannot enter it
        new = positions_of(scores > np.abs(sums).min() if positions.size == count else scores >= 0)
        if new.size:
            new = new[top_k(scores[new], count)]
            self._fresh[name] = _best(
                np.concatenate([positions, new + np.int32(start)]), np.concatenate([sums, gradient[new]]), count
            )

    def _merge(self, name: str) -> None:
        """Before a backward, and at the end: the best of what is known and of what the last one added."""
        (known, sums), (fresh, new) = self._known[name], self._fresh[name]
        if fresh.size:
            order = np.argsort(positions := np.concatenate([known, fresh]), kind="stable")
            sums = np.concatenate([sums, new])[order]
            self._known[name] = _best(positions[order], sums, GATHERED * self._counts[name])
            self._fresh[name] = (fresh[:0], new[:0])

    def candidates(self) -> dict[str, Candidates]:
        """What was found, by tensor."""
        found = {}
        for name, count in self._counts.items():
            self._merge(name)
            positions, sums = _best(*self._known[name], count)
            found[name] = Candidates(positions, np.abs(sums))
        return found


def _best(positions: Array, sums: Array, count: int) -> tuple[Array, Array]:
    """The ``count`` largest |sums|, in order of position; ties go to the lower one."""
    best = top_k(np.abs(sums), count)
    return positions[best], sums[best]
