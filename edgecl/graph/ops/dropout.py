"""Inverted dropout (Srivastava et al. 2014): in training y = x * keep / (1 - p), in prediction y = x.

Operators hold no random state: the engine draws the mask with `draw_mask` and passes it in as
``params["keep"]``.
"""

from __future__ import annotations

import numpy as np

from ...errors import BadInput
from ..registry import Operator, register
from ._check import any_input


def draw_mask(rng: np.random.Generator, shape: tuple[int, ...], p: float) -> np.ndarray:
    """Keep-mask, bool [B, C, H, W] or [B, F]: drawn in that order, so that every engine sees the same one."""
    return rng.random(shape, dtype=np.float32) >= np.float32(p)


class Dropout(Operator):
    """attributes: p, the fraction dropped, 0 <= p < 1."""

    name = "dropout"

    def shape(self, inputs, attributes):
        if not 0 <= attributes["p"] < 1:
            raise BadInput(f"Dropout with p = {attributes['p']} is not possible.", "Use 0 <= p < 1.")
        return any_input(self.name, inputs)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        if not training:
            return x, None
        factor = params["keep"] * x.dtype.type(1 / (1 - attributes["p"]))
        return x * factor, factor

    def backward(self, grad, context, params, attributes):
        return [grad if context is None else grad * context], {}

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        return x * (params["keep"].to(x.dtype) * (1 / (1 - attributes["p"]))) if training else x


register(Dropout())
