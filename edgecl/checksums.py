"""Checksums over arrays, which also take those that only pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np


class InParts(NamedTuple):
    """An array that only passes: its bytes come in ``parts``."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Iterable[bytes]


def checksum(about: str, arrays: Mapping[str, Any]) -> str:
    """sha256 over a text and arrays by name, dtype, shape and bytes: 64 hex digits."""
    sha = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        a = arrays[name]
        sha.update(f"{name}{a.dtype.str}{a.shape}".encode())
        for part in a.parts if isinstance(a, InParts) else (bytes_of(a),):
            sha.update(part)
    return sha.hexdigest()


def bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
