"""Pictures brought to one size: scaled whole, with bars in the colour of their own border."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...errors import require

LARGEST_AUTO, STEP, SMALLEST = 96, 8, 8


def letterbox(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``x`` [C, H, W], uint8 or float32, in ``size`` (height, width); values between those of ``x``."""
    (_, h, w), (height, width) = x.shape, size
    if (h, w) == size:
        return x
    image = require("PIL.Image", "codecs")
    scale = min(height / h, width / w)
    new_h, new_w = min(height, max(1, round(h * scale))), min(width, max(1, round(w * scale)))
    bilinear = image.Resampling.BILINEAR  # over the whole area that a new pixel covers
    planes = [np.asarray(image.fromarray(plane).resize((new_w, new_h), bilinear)) for plane in np.ascontiguousarray(x)]
    top, left = (height - new_h) // 2, (width - new_w) // 2
    border = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], axis=1)
    out = np.empty((len(x), height, width), x.dtype)
    out[:] = np.median(border, axis=1).astype(x.dtype)[:, None, None]
    out[:, top : top + new_h, left : left + new_w] = planes
    return out


def automatic(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """A square that nearly all pictures of ``sizes`` (height, width) fill: a multiple of 8, at most 96."""
    shorter = np.percentile([min(size) for size in sizes], 10, method="lower")
    side = min(LARGEST_AUTO, max(SMALLEST, int(shorter) // STEP * STEP))
    return side, side


def described(sizes: Sequence[tuple[int, int]]) -> str:
    """'12 sizes', or the one there is."""
    different = Counter(sizes)
    if len(different) > 1:
        return f"{len(different)} sizes"
    h, w = next(iter(different))
    return f"{h}x{w}"
