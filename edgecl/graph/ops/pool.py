"""avg_pool, max_pool and global_avg_pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import four_pads, one_map, refuse, window


def _taps(x, attributes, height, width):
    """Every window tap in (row, column) order as a strided view of the padded ``x``."""
    (kh, kw), (sh, sw) = attributes["kernel"], attributes["stride"]
    dh, dw = attributes.get("dilation", [1, 1])
    for u in range(kh):
        for v in range(kw):
            y, z = u * dh, v * dw
            yield x[..., y : y + sh * (height - 1) + 1 : sh, z : z + sw * (width - 1) + 1 : sw]


def _padded_size(shape, attributes, height, width):
    """Height and width that all windows lie in, and where the input begins."""
    top, left, _, _ = four_pads(attributes["padding"])
    sizes = []
    for n, out, k, s, d, before in zip(
        shape[2:], (height, width), attributes["kernel"], attributes["stride"], attributes.get("dilation", [1, 1]),
        (top, left),
    ):  # fmt: skip
        sizes.append(max(n + before, (out - 1) * s + (k - 1) * d + 1))
    return sizes, (top, left)


def _pad(x, attributes, height, width, value):
    (h, w), (top, left) = _padded_size(x.shape, attributes, height, width)
    widths = ((0, 0), (0, 0), (top, h - top - x.shape[2]), (left, w - left - x.shape[3]))
    return np.pad(x, widths, constant_values=value)


def _crop(x, attributes, shape):
    top, left, _, _ = four_pads(attributes["padding"])
    return x[:, :, top : top + shape[2], left : left + shape[3]]


def window_sizes(
    size: int, out: int, kernel: int, stride: int, before: int, after: int, count_padding: bool
) -> list[int]:
    """How many values the mean of each window along one axis is of: with padding those inside the padded input."""
    low, high = (-before, size + after) if count_padding else (0, size)
    starts = [i * stride - before for i in range(out)]
    return [max(1, min(a + kernel, high) - max(a, low)) for a in starts]


class _Pool(Operator):
    """attributes: kernel [kh, kw], stride, padding (as of conv2d, at most half the kernel), ceil (round sizes up)."""

    optional_attributes: Mapping[str, Any] = {"padding": [0, 0]}

    def shape(self, inputs, attributes):
        channels = one_map(self.name, inputs)[0]
        pads = four_pads(attributes["padding"])
        if any(p >= (k - 1) * d + 1 > 1 or (k == 1 and p) for p, k, d in self._sides(pads, attributes)):
            raise refuse(self.name, inputs, f"padding {attributes['padding']} reaches over {attributes['kernel']}")
        return (channels, *window(self.name, inputs, attributes))

    def _sides(self, pads, attributes):
        kernel, dilation = attributes["kernel"], attributes.get("dilation", [1, 1])
        return [(p, kernel[i % 2], dilation[i % 2]) for i, p in enumerate(pads)]

    def _output(self, x, attributes):
        return window(self.name, [x.shape[1:]], attributes)


class AvgPool(_Pool):
    """Mean of each window. count_include_pad (default): padding zeros count, as in torch."""

    name = "avg_pool"

    def counts(self, shape, attributes) -> tuple[list[int], list[int]]:
        """Of each row and column of windows, over how many values the mean is."""
        top, left, bottom, right = four_pads(attributes["padding"])
        height, width = window(self.name, [shape], attributes)
        counted = bool(attributes.get("count_include_pad", True))
        (kh, kw), (sh, sw) = attributes["kernel"], attributes["stride"]
        return (
            window_sizes(shape[1], height, kh, sh, top, bottom, counted),
            window_sizes(shape[2], width, kw, sw, left, right, counted),
        )

    def _share(self, shape, attributes, dtype):
        rows, columns = self.counts(shape, attributes)
        return 1 / np.outer(rows, columns).astype(dtype)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        height, width = self._output(x, attributes)
        total = sum(_taps(_pad(x, attributes, height, width, 0), attributes, height, width))
        return total * self._share(x.shape[1:], attributes, x.dtype), x.shape

    def backward(self, grad, context, params, attributes):
        (h, w), _ = _padded_size(context, attributes, *grad.shape[2:])
        dx = np.zeros((*context[:2], h, w), grad.dtype)
        share = grad * self._share(context[1:], attributes, grad.dtype)
        for tap in _taps(dx, attributes, *grad.shape[2:]):
            tap += share
        return [_crop(dx, attributes, context)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        kernel, stride = tuple(attributes["kernel"]), tuple(attributes["stride"])
        height, width = self._output(x, attributes)
        (h, w), (top, left) = _padded_size(x.shape, attributes, height, width)
        x = torch.nn.functional.pad(x, (left, w - left - x.shape[3], top, h - top - x.shape[2]))
        y = torch.nn.functional.avg_pool2d(x, kernel, stride)[:, :, :height, :width]
        if all({*counts} == {k} for counts, k in zip(self.counts(inputs[0].shape[1:], attributes), kernel)):
            return y
        share = torch.from_numpy(self._share(inputs[0].shape[1:], attributes, np.float64)).to(x.dtype)
        return y * (share * (kernel[0] * kernel[1]))


class MaxPool(_Pool):
    """Largest of each window; the gradient goes to the first largest in (row, column) order. Also dilation."""

    name = "max_pool"

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        height, width = self._output(x, attributes)
        best = np.full((*x.shape[:2], height, width), -np.inf, x.dtype)
        winner = np.zeros(best.shape, np.int32)
        for k, tap in enumerate(_taps(_pad(x, attributes, height, width, -np.inf), attributes, height, width)):
            larger = tap > best
            best = np.where(larger, tap, best)
            winner[larger] = k
        return best, (winner, x.shape)

    def backward(self, grad, context, params, attributes):
        winner, shape = context
        (h, w), _ = _padded_size(shape, attributes, *grad.shape[2:])
        dx = np.zeros((*shape[:2], h, w), grad.dtype)
        for k, tap in enumerate(_taps(dx, attributes, *grad.shape[2:])):
            tap += np.where(winner == k, grad, 0)
        return [_crop(dx, attributes, shape)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        height, width = self._output(x, attributes)
        (h, w), (top, left) = _padded_size(x.shape, attributes, height, width)
        x = torch.nn.functional.pad(x, (left, w - left - x.shape[3], top, h - top - x.shape[2]), value=-torch.inf)
        y = torch.nn.functional.max_pool2d(
            x,
            tuple(attributes["kernel"]),
            tuple(attributes["stride"]),
            dilation=tuple(attributes.get("dilation", [1, 1])),
        )
        return y[:, :, :height, :width]


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
