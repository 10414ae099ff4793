"""layer_norm (Ba et al. 2016) and rms_norm (Zhang and Sennrich 2019): over some axes of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import any_input, axis_of


class LayerNorm(Operator):
    """attributes: axes (default: the first, channels), eps. scale, shift of the shape of those axes."""

    name = "layer_norm"
    optional_attributes: Mapping[str, Any] = {"axes": [0], "eps": 1e-5}
    centred = True

    def axes(self, shape, attributes) -> tuple[int, ...]:
        return tuple(sorted(axis_of(self.name, [shape], a) for a in attributes["axes"]))

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        self.axes(shape, attributes)
        return shape

    def parameters(self, inputs, attributes):
        shape = tuple(inputs[0][a] for a in self.axes(inputs[0], attributes))
        specs = {"scale": ParameterSpec("", shape, "scale", "ones")}
        if self.centred:
            specs["shift"] = ParameterSpec("", shape, "shift", "zeros")
        return specs

    def _spread(self, value, x, axes):
        return value.reshape([x.shape[a + 1] if a in axes else 1 for a in range(x.ndim - 1)])

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self.axes(x.shape[1:], attributes)
        over = tuple(a + 1 for a in axes)
        centred = x - x.mean(over, keepdims=True) if self.centred else x
        inverse = 1 / np.sqrt(np.square(centred).mean(over, keepdims=True) + attributes["eps"])
        xhat = centred * inverse
        y = xhat * self._spread(params["scale"], x, axes)
        if self.centred:
            y = y + self._spread(params["shift"], x, axes)
        return y, (xhat, inverse, axes)

    def backward(self, grad, context, params, attributes):
        xhat, inverse, axes = context
        over = tuple(a + 1 for a in axes)
        rest = tuple(i for i in range(grad.ndim) if i not in over)
        grads = {"scale": (grad * xhat).sum(rest)}
        if self.centred:
            grads["shift"] = grad.sum(rest)
        g = grad * self._spread(params["scale"], grad, axes)
        dx = g - xhat * (g * xhat).mean(over, keepdims=True)
        if self.centred:
            dx = dx - g.mean(over, keepdims=True)
        return [dx * inverse], grads

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self.axes(tuple(x.shape[1:]), attributes)
        over = tuple(a + 1 for a in axes)
        centred = x - x.mean(over, keepdim=True) if self.centred else x
        y = centred / (centred.square().mean(over, keepdim=True) + attributes["eps"]).sqrt()
        y = y * self._spread(params["scale"], x, axes)
        return y + self._spread(params["shift"], x, axes) if self.centred else y


class RmsNorm(LayerNorm):
    """attributes: axes, eps. Divides by the root mean square; scale only."""

    name = "rms_norm"
    centred = False


register(LayerNorm())
register(RmsNorm())
