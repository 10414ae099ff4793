"""SampleSpec: what a sample looks like."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any

import numpy as np

from ..errors import BadInput


@dataclass(frozen=True)
class SampleSpec:
    """What the graph's input looks like.

    Parameters
    ----------
    shape : (C, H, W); a signal is (C, 1, T)
    dtype : ``uint8`` or ``float32``
    kind : ``image`` or ``signal``
    mean, std : per channel, in raw units; None: 0 and 255 (uint8) or 0 and 1
    """

    shape: tuple[int, ...]
    dtype: str
    kind: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


def sample_spec(shape: Any, dtype: Any, mean: Any, std: Any) -> SampleSpec:
    """What a user says of the samples, as plain values. Whether a network takes them is for the network to say."""
    try:
        shape = tuple(index(n) for n in shape)
    except TypeError:
        raise BadInput(f"input_shape is {shape!r}.", "Give whole numbers (C, H, W); signals are (C, 1, T).") from None
    try:
        dtype = np.dtype(dtype).name
    except TypeError:
        raise BadInput(f"dtype is {dtype!r}.", "Use uint8 or float32.") from None
    plain = []
    for name, values in (("mean", mean), ("std", std)):
        try:
            plain.append(None if values is None else tuple(float(v) for v in np.ravel(values)))
        except (TypeError, ValueError):
            raise BadInput(f"{name} is {values!r}.", "Give a number per channel.") from None
    kind = "signal" if len(shape) == 3 and shape[1] == 1 < shape[2] else "image"
    return SampleSpec(shape, dtype, kind, *plain)
