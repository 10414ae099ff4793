"""Distillation losses on logits with analytic gradients."""

from __future__ import annotations

import numpy as np

from .losses import Array, log_softmax


def soft_cross_entropy(
    logits: Array, teacher: Array, units: Array, temperature: float, count: float
) -> tuple[float, Array]:
    """sum_rows sum_c -q_c log p_c / count, q and p softmax of teacher and logits over ``units`` at a temperature T.

    logits, teacher : float32 [B, C];  units : bool [C];  Returns (float, gradient float32 [B, C]), no factor T^2.
    """
    grad = np.zeros(logits.shape, np.float32)
    if not len(logits) or not units.any():
        return 0.0, grad
    logp = log_softmax(logits[:, units].astype(np.float64) / temperature)
    q = np.exp(log_softmax(teacher[:, units].astype(np.float64) / temperature))
    grad[:, units] = (np.exp(logp) - q) / (temperature * count)
    return float(-(q * logp).sum() / count), grad


def binary_cross_entropy(logits: Array, targets: Array, units: Array, count: float) -> tuple[float, Array]:
    """sum of -t log s - (1 - t) log(1 - s), s = sigmoid(logits), over rows and ``units``, / (count * number of units).

    targets : float [B, C] in 0..1;  Returns (float, gradient float32 [B, C]).
    """
    grad = np.zeros(logits.shape, np.float32)
    if not len(logits) or not units.any():
        return 0.0, grad
    z, t = logits[:, units].astype(np.float64), targets[:, units].astype(np.float64)
    share = count * int(units.sum())
    losses = np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))
    grad[:, units] = (sigmoid(z) - t) / share
    return float(losses.sum() / share), grad


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)) in float64, without overflow."""
    z = np.asarray(z, np.float64)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)
