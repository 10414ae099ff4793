"""Bytes without loss: numbers by their bytes, the highest deflated; inflated to a size that is known beforehand."""

from __future__ import annotations

import zlib

import numpy as np

from .refusals import BadUpdate

LEVEL = 6


def packed(raw: bytes, width: int) -> bytes:
    """Numbers of ``width`` bytes: all lowest bytes, .., all highest bytes, these deflated: sign and exponent of weights
    are alike, what is below them is noise.
    """
    planes = np.frombuffer(raw, np.uint8).reshape(-1, width).T
    return planes[:-1].tobytes() + zlib.compress(planes[-1].tobytes(), LEVEL)


def unpacked(part: memoryview, count: int, width: int) -> bytes:
    """The inverse of `packed` for ``count`` numbers. Raises `BadUpdate` (size)."""
    low = count * (width - 1)
    if len(part) < low:
        raise BadUpdate("size", f"{count} numbers cannot be in {len(part)} bytes.")
    planes = np.empty((width, count), np.uint8)
    planes[:-1] = np.frombuffer(part, np.uint8, low).reshape(width - 1, count)
    planes[-1] = np.frombuffer(inflated(part[low:], count, "size"), np.uint8)
    return planes.T.tobytes()


def inflated(part: memoryview, expected: int, name: str) -> bytes:
    """So many bytes, never more, whatever ``part`` would become. Raises `BadUpdate` called ``name``."""
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(part, expected + 1)
    except zlib.error as error:
        raise BadUpdate(name, f"A deflated part cannot be inflated: {error}.") from error
    if len(found) != expected or not inflate.eof or inflate.unused_data or inflate.unconsumed_tail:
        raise BadUpdate(name, f"A deflated part does not hold {expected} bytes.")
    return found
