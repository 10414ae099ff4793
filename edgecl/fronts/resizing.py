"""Resizing: pictures brought to the size that a backbone sees, and grey ones to three channels."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput

Array = np.ndarray
COLOURS = 3


class Resizing:
    """uint8 pictures [C, H, W] to [3, size, size] by bilinear interpolation, over the whole area that a new pixel
    covers where they become smaller. Without a size every sample passes as it is.

    shape, dtype : of what comes out;  flops : of a sample;  bytes : what a call takes beside its result
    """

    def __init__(self, size: int | None, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype, self.flops, self.bytes = tuple(shape), dtype, 0, 0
        self._size = size
        if size is None:
            return
        if dtype != "uint8" or len(shape) != 3 or shape[0] not in (1, COLOURS):
            raise BadInput(
                f"Samples of {dtype} and shape {tuple(shape)} are no pictures to bring to a size.",
                "Give uint8 of shape (1, H, W) or (3, H, W), or drop the size.",
            )
        self.shape = (COLOURS, size, size)
        channels, h, w = shape
        self._down, self._across = _weights(h, size), _weights(w, size).T.copy()
        self.flops = 2 * channels * size * w * (h + size)
        held = self._down.nbytes + self._across.nbytes
        self.bytes = held + 4 * channels * (h * w + size * w + 2 * size * size) + COLOURS * size * size

    def __call__(self, picture: Array) -> Array:
        """One picture, in an array of its own or as it is."""
        if self._size is None:
            return picture
        scaled = np.matmul(np.matmul(self._down, picture.astype(np.float32)), self._across)
        rounded = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(rounded, self.shape))


def _weights(old: int, new: int) -> Array:
    """float32 [new, old]: each row a triangle around its pixel's middle, as wide as an old pixel or, where pictures
    shrink, a new one; rows sum to 1."""
    ratio = old / new
    reach = max(ratio, 1.0)
    middle = (np.arange(new) + 0.5) * ratio
    away = np.abs(np.arange(old)[None, :] + 0.5 - middle[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - away)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
