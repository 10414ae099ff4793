"""Index patterns: sorted distinct int32 positions of living weights, in canonical (out, in, kh, kw) order."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
PIECE = 65536
RANK_BLOCK = 8192  # below numpy's own limit for drawing without a set


def exact_count(fraction: float, size: int) -> int:
    """``fraction`` of ``size`` rounded half up, within [0, size]."""
    return min(size, max(0, int(np.floor(fraction * size + 0.5))))


def top_k(scores: Array, k: int) -> Array:
    """Positions of the ``k`` largest scores [n], sorted, int32. Ties go to the lower position; NaN counts as
    lowest. O(n) by selection of the k-th value. Exactly min(k, n) positions come back.

    SparCL's code keeps what is strictly greater than a percentile, so it drops all ties at the threshold; an
    exact count keeps the density, and with it the plan, exact.
    """
    lost = np.isnan(scores)
    if lost.any():
        scores = np.where(lost, -np.inf, scores)
    if k <= 0:
        return np.zeros(0, np.int32)
    if k >= scores.size:
        return np.arange(scores.size, dtype=np.int32)
    threshold = np.partition(scores, scores.size - k)[scores.size - k]
    keep = scores > threshold
    ties = positions_of(scores == threshold)
    keep[ties[: k - np.count_nonzero(keep)]] = True
    return positions_of(keep)


def positions_of(mask: Array) -> Array:
    """int32, sorted: where a bool array [n] is true; numpy's 64-bit indices exist a piece at a time only."""
    found = np.empty(np.count_nonzero(mask), np.int32)
    at = 0
    for i in range(0, mask.size, PIECE):
        piece = np.flatnonzero(mask[i : i + PIECE])
        found[at : at + piece.size] = piece + i
        at += piece.size
    return found


def magnitude_pattern(weights: Array, density: float) -> Array:
    """One-shot magnitude pruning: the exact_count(density, n) largest |w| of a dense tensor, as a pattern."""
    flat = np.abs(weights).reshape(-1)
    return top_k(flat, exact_count(density, flat.size))


def dead_positions(pattern: Array, ranks: Array) -> Array:
    """Flat position of the r-th dead weight (0-based) for each of ``ranks``, without a dense mask."""
    dead_before = np.arange(pattern.size, dtype=np.int32)
    np.subtract(pattern, dead_before, out=dead_before)
    return (ranks + np.searchsorted(dead_before, ranks, side="right")).astype(np.int32)


def newcomers_at_random(pattern: Array, size: int, count: int, rng: np.random.Generator) -> Array:
    """``count`` dead positions (all when fewer) drawn uniformly without replacement; int32, sorted."""
    dead = size - pattern.size
    count = min(count, dead)
    if count <= 0:
        return np.zeros(0, np.int32)
    if count > dead // 20 and dead > max(10_000, pattern.size):
        ranks = _ranks_by_block(dead, count, rng)  # numpy would shuffle all of them, 8 bytes each
    else:
        ranks = rng.choice(dead, count, replace=False, shuffle=False)
    return np.sort(dead_positions(pattern, ranks))


def _ranks_by_block(dead: int, count: int, rng: np.random.Generator) -> Array:
    """``count`` of range(dead), uniformly without replacement: first how many in each block, then which."""
    starts = np.arange(0, dead, RANK_BLOCK)
    sizes = np.minimum(RANK_BLOCK, dead - starts)
    shares = rng.multivariate_hypergeometric(sizes, count, method="marginals")
    drawn = [s + rng.choice(n, k, replace=False, shuffle=False) for s, n, k in zip(starts, sizes, shares) if k]
    return np.concatenate(drawn).astype(np.int32)


def grow_at_random(pattern: Array, size: int, count: int, rng: np.random.Generator) -> Array:
    """``pattern`` plus `newcomers_at_random`."""
    new = newcomers_at_random(pattern, size, count, rng)
    return np.sort(np.concatenate([pattern, new])).astype(np.int32) if new.size else pattern
