"""Input normalisation, the first node: (x - mean) / std per channel on raw values, then zero padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import BadInput, require
from ..registry import Operator, register
from ._check import any_input, refuse


class Normalise(Operator):
    """attributes: mean [C], std [C] in units of the raw input; pad: pixels added on each spatial side.

    uint8 or float32 in, float32 out (float64 stays). No gradient to the input.
    """

    name = "normalise"
    optional_attributes: Mapping[str, Any] = {"pad": 0}

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        mean, std, pad = attributes["mean"], attributes["std"], attributes["pad"]
        channels = shape[0] if shape else 1
        if len(mean) != channels or len(std) != channels:
            raise refuse(
                self.name,
                inputs,
                f"{len(mean)} means and {len(std)} deviations for {channels} channels",
                "Give one mean and one standard deviation per channel.",
            )
        if not np.all(np.isfinite([*mean, *std])) or min(std) <= 0:
            raise BadInput(
                f"Input normalisation with mean {list(mean)} and std {list(std)} is not usable.",
                "Means must be finite, standard deviations finite and above zero.",
            )
        if pad < 0 or (pad and len(shape) != 3):
            raise refuse(self.name, inputs, f"padding by {pad}")
        return shape if not pad else (shape[0], shape[1] + 2 * pad, shape[2] + 2 * pad)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        x = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
        column = (-1,) + (1,) * (x.ndim - 2)
        mean = np.asarray(attributes["mean"], x.dtype).reshape(column)
        std = np.asarray(attributes["std"], x.dtype).reshape(column)
        y = (x - mean) / std
        pad = attributes["pad"]
        return (np.pad(y, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else y), None

    def backward(self, grad, context, params, attributes):
        return [None], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        x = x if x.is_floating_point() else x.float()
        column = (-1,) + (1,) * (x.ndim - 2)
        mean = torch.tensor(attributes["mean"], dtype=x.dtype).view(column)
        std = torch.tensor(attributes["std"], dtype=x.dtype).view(column)
        y = (x - mean) / std
        pad = attributes["pad"]
        return torch.nn.functional.pad(y, (pad, pad, pad, pad)) if pad else y


register(Normalise())
