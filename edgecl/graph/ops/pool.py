"""avg_pool, max_pool and global_avg_pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import one_map, refuse, window


def _taps(x, attributes, height, width):
    """Every window tap in (row, column) order as a strided view of the padded ``x``."""
    (kh, kw), (sh, sw) = attributes["kernel"], attributes["stride"]
    for u in range(kh):
        for v in range(kw):
            yield x[..., u : u + sh * (height - 1) + 1 : sh, v : v + sw * (width - 1) + 1 : sw]


def _pad(x, padding, value):
    ph, pw = padding
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=value)


def _crop(x, padding, shape):
    ph, pw = padding
    return x[:, :, ph : ph + shape[2], pw : pw + shape[3]]


class _Pool(Operator):
    """attributes: kernel [kh, kw], stride, padding (at most half the kernel); sizes round down."""

    optional_attributes: Mapping[str, Any] = {"padding": [0, 0]}

    def shape(self, inputs, attributes):
        channels = one_map(self.name, inputs)[0]
        if any(2 * p > k for p, k in zip(attributes["padding"], attributes["kernel"])):
            raise refuse(self.name, inputs, f"padding {attributes['padding']} is over half of {attributes['kernel']}")
        return (channels, *window(self.name, inputs, attributes))

    def _output(self, x, attributes):
        return window(self.name, [x.shape[1:]], attributes)


class AvgPool(_Pool):
    """Mean of each window; padding zeros count (torch's count_include_pad=True)."""

    name = "avg_pool"

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        height, width = self._output(x, attributes)
        total = sum(_taps(_pad(x, attributes["padding"], 0), attributes, height, width))
        return total / x.dtype.type(np.prod(attributes["kernel"])), x.shape

    def backward(self, grad, context, params, attributes):
        ph, pw = attributes["padding"]
        padded = (*context[:2], context[2] + 2 * ph, context[3] + 2 * pw)
        dx = np.zeros(padded, grad.dtype)
        share = grad / grad.dtype.type(np.prod(attributes["kernel"]))
        for tap in _taps(dx, attributes, *grad.shape[2:]):
            tap += share
        return [_crop(dx, (ph, pw), context)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        kernel, stride, padding = (tuple(attributes[k]) for k in ("kernel", "stride", "padding"))
        return torch.nn.functional.avg_pool2d(inputs[0], kernel, stride, padding)


class MaxPool(_Pool):
    """Largest of each window; the gradient goes to the first largest in (row, column) order."""

    name = "max_pool"

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        height, width = self._output(x, attributes)
        best = np.full((*x.shape[:2], height, width), -np.inf, x.dtype)
        winner = np.zeros(best.shape, np.int32)
        for k, tap in enumerate(_taps(_pad(x, attributes["padding"], -np.inf), attributes, height, width)):
            larger = tap > best
            best = np.where(larger, tap, best)
            winner[larger] = k
        return best, (winner, x.shape)

    def backward(self, grad, context, params, attributes):
        winner, shape = context
        ph, pw = attributes["padding"]
        dx = np.zeros((*shape[:2], shape[2] + 2 * ph, shape[3] + 2 * pw), grad.dtype)
        for k, tap in enumerate(_taps(dx, attributes, *grad.shape[2:])):
            tap += np.where(winner == k, grad, 0)
        return [_crop(dx, (ph, pw), shape)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        kernel, stride, padding = (tuple(attributes[k]) for k in ("kernel", "stride", "padding"))
        return torch.nn.functional.max_pool2d(inputs[0], kernel, stride, padding)


class GlobalAvgPool(Operator):
    """Mean over all positions: (C, H, W) -> (C,)."""

    name = "global_avg_pool"

    def shape(self, inputs, attributes):
        return (one_map(self.name, inputs)[0],)

    def forward(self, inputs, params, attributes, training):
        return inputs[0].mean((2, 3)), inputs[0].shape

    def backward(self, grad, context, params, attributes):
        share = grad[:, :, None, None] / grad.dtype.type(context[2] * context[3])
        return [np.broadcast_to(share, context).copy()], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].mean((2, 3))


register(AvgPool())
register(MaxPool())
register(GlobalAvgPool())
