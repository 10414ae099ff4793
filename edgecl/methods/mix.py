"""Mixed pairs of samples with soft targets: mixup and cutmix, for phases and steps."""

from __future__ import annotations

import numpy as np

from .phase import Mix

Array = np.ndarray


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape have a rectangle to cut."""
    return len(shape) == 3 and min(shape[-2:]) > 1


def mixed(x: Array, y: Array, classes: int, mix: Mix, rng: np.random.Generator) -> tuple[Array, Array]:
    """(samples [B, C, H, W] of their dtype, float32 [B, classes] targets): every sample with a partner of the batch.

    One share a batch, of Beta(alpha, alpha), in a share ``p`` of the batches; otherwise samples as they are. ``cutmix``
    pastes a rectangle of the partner, its area the partner's share of the target (Yun et al. 2019).
    """
    targets = np.zeros((len(y), classes), np.float32)
    targets[np.arange(len(y)), y] = 1
    if rng.random() >= mix.p or len(y) < 2:
        return x, targets
    share, partner = rng.beta(mix.alpha, mix.alpha), rng.permutation(len(y))
    if mix.kind == "mixup":
        blend = share * x.astype(np.float64) + (1 - share) * x[partner]
        out = np.rint(blend).astype(x.dtype) if x.dtype.kind in "ui" else blend.astype(x.dtype)
    else:
        height, width = x.shape[-2:]
        tall, wide = (round(n * float(np.sqrt(1 - share))) for n in (height, width))
        top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
        out = x.copy()
        box = (..., slice(top, top + tall), slice(left, left + wide))
        out[box] = x[partner][box]
        share = 1 - tall * wide / (height * width)
    return out, np.float32(share) * targets + np.float32(1 - share) * targets[partner]
