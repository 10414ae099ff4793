"""Latents: what a frozen prefix gives, in 8 or 16 bits a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BadInput
from ..graph import Graph
from ..graph.ranges import bounds, normalised_range

Array = np.ndarray
FORMATS = ("uint8", "int8", "float16")
LARGEST_HALF = 65504.0
BITS = {"uint8": 8, "int8": 8, "float16": 16}


@dataclass(frozen=True)
class Latents:
    """A format with its scales. A value is stored as

    uint8 : round(value / scale) in 0..255, for what is never negative (behind a ReLU)
    int8 : round(value / scale) in -127..127, kept as 128 more in a byte, as samples are uint8
    float16 : rounded to half precision

    ``scale`` is float32 [C], one for each first axis, above 0; empty for float16. Values outside go to the border.
    """

    format: str
    scale: Array

    @property
    def dtype(self) -> str:
        """Of what is stored."""
        return "float16" if self.format == "float16" else "uint8"

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) that make values of what is stored: (stored - mean) / std."""
        if self.format == "float16":
            return (0.0,) * channels, (1.0,) * channels
        zero = 0.0 if self.format == "uint8" else 128.0
        return (zero,) * channels, tuple((1.0 / self.scale.astype(np.float64)).tolist())

    def encoded(self, values: Array) -> tuple[Array, int]:
        """``values`` float32 [n, C, ...] as they are stored, and how many went to the border by over half a step."""
        if self.format == "float16":
            outside = int((np.abs(values) > LARGEST_HALF).sum())
            return np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype(np.float16), outside
        steps = values / self.scale.reshape((1, -1) + (1,) * (values.ndim - 2))
        low, high = (0, 255) if self.format == "uint8" else (-127, 127)
        outside = int(((steps < low - 0.5) | (steps > high + 0.5)).sum())
        np.rint(steps, out=steps)
        np.clip(steps, low, high, out=steps)
        if self.format == "int8":
            steps += 128
        return steps.astype(np.uint8), outside


def chosen_format(graph: Graph, tensor: str, wanted: str | None) -> str:
    """``wanted``, else uint8 where the tensor is never negative, int8 where it may be. Raises `BadInput`."""
    never_negative = bounds(graph, tensor)[0] >= 0
    if wanted == "uint8" and not never_negative:
        raise BadInput(
            f"'{tensor}' may be negative, which latents in uint8 cannot be.", "Use latent='int8' or 'float16'."
        )
    return wanted or ("uint8" if never_negative else "int8")


def scaled(
    graph: Graph, weights: Mapping[str, Array], tensor: str, format: str, calibration: Mapping[str, Any] | None
) -> Latents:
    """Latents of ``tensor`` in ``format``, with scales from the calibration, else from the graph: bounds of an
    activation (6/255 for ReLU6), else the spread that batch norms say.

    calibration : {"low": [C], "high": [C]} over samples, as `calibrated` writes it, or None
    Raises `BadInput` where nothing says a range.
    """
    if format == "float16":
        return Latents(format, np.zeros(0, np.float32))
    channels, (low, high) = graph.shapes[tensor][0], bounds(graph, tensor)
    if calibration is not None:
        lows, highs = (_figures(calibration.get(k), channels, tensor) for k in ("low", "high"))
    elif np.isfinite([low, high]).all():
        lows, highs = np.full(channels, low), np.full(channels, high)
    else:
        found = normalised_range(graph, weights, tensor)
        if found is None:
            raise BadInput(
                f"Nothing says between which values '{tensor}' of '{graph.name}' lies.",
                "Calibrate it (edgecl import --cut TENSOR --calibrate SAMPLES.npy), or use latent='float16'.",
            )
        lows, highs = found
    largest = highs if format == "uint8" else np.maximum(np.abs(lows), np.abs(highs))
    scale = largest / (255 if format == "uint8" else 127)
    widest = float(scale.max()) or 1.0
    scale = np.where(scale > 1e-6 * widest, scale, widest)  # a channel that never moves
    return Latents(format, scale.astype(np.float32))


def _figures(values: Any, channels: int, tensor: str) -> Array:
    """float64 [C] out of a file. Raises `BadInput`."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (channels,) or not np.isfinite(found).all() or np.abs(found).max() > 1e30:
        raise BadInput(f"The calibration of '{tensor}' is not {channels} finite numbers.", "Calibrate it again.")
    return found
