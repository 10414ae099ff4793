"""Losses on logits with analytic gradients: numpy in, (value, gradient) out."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput

Array = np.ndarray


def log_softmax(logits: Array) -> Array:
    """log softmax over the last axis in float64; units at -inf stay at -inf."""
    z = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which the step refuses
        z = z - z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def mask_units(logits: Array, units: Array | None) -> Array:
    """``logits`` with units outside the bool mask ``units`` [C] at -inf (a copy; unchanged when None)."""
    if units is None:
        return logits
    return np.where(units, logits, np.asarray(-np.inf, logits.dtype))


def cross_entropy(
    logits: Array,
    targets: Array,
    mask: Array | None = None,
    weight: Array | None = None,
    count: float | None = None,
) -> tuple[float, Array]:
    """Mean cross-entropy, and the gradient of the logits.

    logits  : float32 [B, C]
    targets : int [B] class indices, or float [B, C] soft or mixed targets (rows need not sum to one)
    mask    : bool [C]; units outside it count as -inf (single-head masking, SparCL)
    weight  : float [B] per-sample weights, or None
    count   : what the sum is divided by; default B (a part of a batch passes the whole batch's size)
    Returns (float, float32 [B, C]). Raises `BadInput` when a target lies outside the mask or the head.
    """
    logits = np.asarray(logits)
    rows, classes = logits.shape
    if rows == 0:
        return 0.0, np.zeros_like(logits, np.float32)
    logp = log_softmax(mask_units(logits, mask))
    wanted = np.asarray(targets)
    scale = np.ones(rows) if weight is None else np.asarray(weight, np.float64)
    scale = scale / (rows if count is None else count)
    if wanted.ndim == 1:
        _check_units(wanted, classes)
        if mask is not None and not np.asarray(mask)[wanted].all():
            raise _outside_mask()
        at = np.arange(rows), wanted
        losses = -logp[at]
        grad = np.exp(logp)
        grad[at] -= 1.0
    else:
        soft = wanted.astype(np.float64)
        if mask is not None and np.any(soft[:, ~np.asarray(mask)] != 0):
            raise _outside_mask()
        # A masked unit has logp = -inf and target 0; their product counts as 0.
        losses = -np.where(soft != 0, soft * np.where(soft != 0, logp, 0.0), 0.0).sum(axis=1)
        grad = np.exp(logp) * soft.sum(axis=1, keepdims=True) - soft
    grad *= scale[:, None]
    return float(losses @ scale), grad.astype(np.float32)


def _check_units(targets: Array, classes: int) -> None:
    if targets.size and (targets.min() < 0 or targets.max() >= classes):
        raise BadInput(
            f"A target unit lies outside the head of {classes} units.", "Widen the head or check the labels."
        )


def _outside_mask() -> BadInput:
    return BadInput(
        "A target of the cross-entropy lies outside the units it is masked to.",
        "Use current_loss='full', or declare every class of the task in task_units.",
    )


def mse_logits(logits: Array, stored: Array, widths: Array, count: float | None = None) -> tuple[float, Array]:
    """Mean squared error against stored logits, each over the width it was stored with.

    logits : float32 [B, C];  stored : float16 [B, W], only the first ``widths[i]`` entries of row i count
    widths : int [B]; a sample of width 0 (nothing stored) is skipped and does not enter the mean
    count  : what the sum over samples is divided by; default the number of samples with width > 0
    Averaged over the sample's own width, then over samples (DER's MSE when all widths are equal).
    Returns (float, float32 [B, C]).
    """
    logits = np.asarray(logits)
    widths = np.asarray(widths, np.int64)
    if widths.size and widths.max() > min(logits.shape[1], stored.shape[1]):
        raise BadInput(
            f"Stored logits of width {widths.max()} do not fit a head of {logits.shape[1]} units "
            f"and {stored.shape[1]} stored columns.",
            "Store at most as many logits as the head has units.",
        )
    total = int(np.count_nonzero(widths)) if count is None else count
    grad = np.zeros(logits.shape, np.float64)
    if total == 0 or logits.shape[0] == 0:
        return 0.0, grad.astype(np.float32)
    width = int(widths.max())
    live = np.arange(width)[None, :] < widths[:, None]
    difference = np.where(live, logits[:, :width].astype(np.float64) - stored[:, :width], 0.0)
    scale = 1.0 / (np.maximum(widths, 1) * float(total))
    grad[:, :width] = 2.0 * difference * scale[:, None]
    return float((difference**2).sum(axis=1) @ scale), grad.astype(np.float32)


def entropy(logits: Array) -> Array:
    """Entropy of softmax(logits) in nats, float64 [B]; units at -inf contribute nothing."""
    z = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        z = z - z.max(axis=-1, keepdims=True)
        e = np.exp(z)
    total = e.sum(axis=-1)
    return np.log(total) - (e * np.where(e > 0, z, 0.0)).sum(axis=-1) / total


def probabilities(scores: Array, classes: int) -> Array:
    """float32 [n, classes] softmax of scores [n, C]; 0 for classes beyond them."""
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    full = np.zeros((len(scores), classes), np.float32)
    full[:, : shares.shape[1]] = shares[:, :classes]
    return full
