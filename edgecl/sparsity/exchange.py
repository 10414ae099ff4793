"""Exchanges of weights that several policies share: drop the lowest scores, grow at random or by dense gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .look import Candidates
from .masks import exact_count, newcomers_at_random, top_k
from .moves import Change, Move
from .tensor import Tensor

Array = np.ndarray


def drop_lowest(tensor: Tensor, scores: Array, keep: int) -> tuple[Array, Array]:
    """(dropped, kept) positions, int32 sorted: the ``keep`` highest of ``scores`` [living] stay."""
    pattern = tensor.positions()
    stays = np.zeros(pattern.size, bool)
    stays[top_k(scores, keep)] = True
    return pattern[~stays], pattern[stays]


def exchange(tensor: Tensor, move: Move, scores: Callable[[], Array], rng: np.random.Generator) -> Change | None:
    """Drop the lowest ``scores()`` [living] down to ``move.drop_to``, then grow at random up to ``move.grow_to``; None
    when both counts stand already. Whoever was dropped may be drawn again, and then starts anew.
    """
    pattern, dropped, grown, to = tensor.positions(), None, None, 0.0
    if move.drop_to is not None and exact_count(move.drop_to, tensor.size) < pattern.size:
        dropped, pattern = drop_lowest(tensor, scores(), exact_count(move.drop_to, tensor.size))
        to = move.drop_to
    if move.grow_to is not None:
        missing = exact_count(move.grow_to, tensor.size) - pattern.size
        if missing > 0:
            grown, to = newcomers_at_random(pattern, tensor.size, missing, rng), move.grow_to
    return None if dropped is None and grown is None else Change(to, dropped=dropped, grown=grown)


def exchange_for_candidates(tensor: Tensor, count: int, candidates: Candidates) -> Change | None:
    """Drop ``count`` of the smallest |w| and grow as many candidates, those with the largest gradient; fewer where
    there are fewer candidates, so that the density stands. One weight at least stays. None when nothing moves.
    """
    count = min(count, candidates.positions.size, tensor.living - 1)
    if count < 1:
        return None
    dropped, _ = drop_lowest(tensor, np.abs(tensor.values), tensor.living - count)
    grown = candidates.positions[top_k(candidates.scores, count)]
    return Change(tensor.living / tensor.size, dropped=dropped, grown=grown)
