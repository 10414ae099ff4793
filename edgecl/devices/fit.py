"""Fits of non-negative constants to times, in relative error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray
SOFT = 0.2  # log error beyond which a row counts linearly, not as its square


def fit_constants(
    terms: Array,
    seconds: Array,
    weights: Array | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    strength: float = 0.0,
    iterations: int = 200,
) -> Array:
    """Constants c > 0 [terms] that make ``terms`` [rows, terms] @ c close to ``seconds`` [rows] in log error.

    weights : of the rows, default 1;  pairs : constants drawn towards each other (in logarithm) with ``strength``
    Gauss-Newton on log c with iteratively reweighted soft-L1 residuals and damping; no randomness.
    """
    row = np.ones(len(seconds)) if weights is None else np.asarray(weights, float)
    smooth = np.zeros((len(pairs), terms.shape[1]))
    for i, (a, b) in enumerate(pairs):
        smooth[i, a], smooth[i, b] = np.sqrt(strength), -np.sqrt(strength)

    def cost_of(at: Array) -> float:
        r = np.log(terms @ np.exp(at)) - np.log(seconds)
        return float((row * SOFT**2 * (np.sqrt(1 + (r / SOFT) ** 2) - 1)).sum() + 0.5 * ((smooth @ at) ** 2).sum())

    x = np.log(seconds.mean() / (terms.shape[1] * np.maximum(terms.mean(0), 1e-300)))  # equal shares: no unit matters
    damping = 1e-3
    cost = cost_of(x)
    for _ in range(iterations):
        parts = terms * np.exp(x)
        total = parts.sum(1)
        residual = np.log(total) - np.log(seconds)
        weight = row / np.sqrt(1 + (residual / SOFT) ** 2)
        jacobian = parts / total[:, None]
        left = (jacobian * weight[:, None]).T @ jacobian + smooth.T @ smooth
        right = (jacobian * weight[:, None]).T @ residual + smooth.T @ (smooth @ x)
        step = -np.linalg.solve(left + damping * np.eye(len(x)), right)
        candidate = np.clip(x + np.clip(step, -2, 2), -30, 30)
        new = cost_of(candidate)
        if new < cost:
            if cost - new < 1e-12 * cost:
                break
            x, cost, damping = candidate, new, damping / 3
        else:
            damping *= 4
            if damping > 1e8:
                break
    return np.exp(x)


def ratio_error(predicted: Array, measured: Array) -> Array:
    """Factor by which each prediction is off, whichever way: 1 is exact."""
    return np.exp(np.abs(np.log(predicted / measured)))


def leave_one_out(terms: Array, seconds: Array, groups: list[str]) -> Array:
    """Predictions [rows], each group's by constants fitted without it."""
    predicted = np.empty(len(seconds))
    names = np.array(groups)
    for group in dict.fromkeys(groups):
        out = names == group
        predicted[out] = terms[out] @ fit_constants(terms[~out], seconds[~out])
    return predicted
