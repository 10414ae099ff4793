"""2-D cross-correlation with zero padding, any kernel, stride and groups; 1-D is a map of height 1.

    y[b, o, i, j] = bias[o]
                    + sum over (c, u, v) of weight[o, c, u, v] * xpad[b, g(o)*C/G + c, i*sh + u, j*sw + v]

The reference loops over kernel taps: each tap is one matrix product per group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import four_pads, one_map, refuse, window


class Conv2d(Operator):
    """attributes: out, kernel [kh, kw], stride, padding, dilation, groups, bias. Padding is of both sides of
    height and width, or (top, left, bottom, right).

    weight [out, in/groups, kh, kw], bias [out].
    """

    name = "conv2d"
    optional_attributes: Mapping[str, Any] = {"stride": [1, 1], "padding": [0, 0], "groups": 1, "bias": False}

    def shape(self, inputs, attributes):
        channels = one_map(self.name, inputs)[0]
        out, groups = attributes["out"], attributes["groups"]
        if out < 1 or groups < 1 or channels % groups or out % groups:
            raise refuse(self.name, inputs, f"{groups} groups do not divide {channels} input and {out} output channels")
        return (out, *window(self.name, inputs, attributes))

    def parameters(self, inputs, attributes):
        out, kernel = attributes["out"], attributes["kernel"]
        per_group = inputs[0][0] // attributes["groups"]
        fan_in = per_group * kernel[0] * kernel[1]
        specs = {"weight": ParameterSpec("", (out, per_group, *kernel), "weight", "kaiming_uniform", fan_in)}
        if attributes["bias"]:
            specs["bias"] = ParameterSpec("", (out,), "bias", "bias_uniform", fan_in)
        return specs

    def positions(self, output):
        return output[1] * output[2]

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        weight = params["weight"]
        x = _grouped(_pad(x, attributes["padding"]), attributes["groups"])
        weight = _grouped_weight(weight, attributes["groups"])
        height, width = _positions(x, attributes)
        y = np.zeros((x.shape[0], *weight.shape[:2], height, width), x.dtype)
        for u, v, tap in _taps(x, attributes, height, width):
            y += np.einsum("bgchw,goc->bgohw", tap, weight[..., u, v], optimize=True)
        y = y.reshape(x.shape[0], -1, height, width)
        if "bias" in params:
            y = y + params["bias"][:, None, None]
        return y, (x, inputs[0].shape)

    def backward(self, grad, context, params, attributes):
        x, shape = context
        groups, (ph, pw, _, _) = attributes["groups"], four_pads(attributes["padding"])
        weight = _grouped_weight(params["weight"], groups)
        height, width = grad.shape[2:]
        g = grad.reshape(grad.shape[0], groups, -1, height, width)
        dx = np.zeros_like(x)
        dw = np.zeros_like(weight)
        taps = zip(_taps(x, attributes, height, width), _taps(dx, attributes, height, width))
        for (u, v, tap), (_, _, dtap) in taps:
            dw[..., u, v] = np.einsum("bgchw,bgohw->goc", tap, g, optimize=True)
            dtap += np.einsum("bgohw,goc->bgchw", g, weight[..., u, v], optimize=True)
        dx = dx.reshape(dx.shape[0], -1, *dx.shape[3:])[:, :, ph : ph + shape[2], pw : pw + shape[3]]
        grads = {"weight": dw.reshape(params["weight"].shape)}
        if "bias" in params:
            grads["bias"] = grad.sum((0, 2, 3))
        return [dx], grads

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        top, left, bottom, right = four_pads(attributes["padding"])
        (x,), padding = inputs, (top, left)
        if (bottom, right) != padding:
            x, padding = torch.nn.functional.pad(x, (left, right, top, bottom)), (0, 0)
        return torch.nn.functional.conv2d(
            x,
            params["weight"],
            params.get("bias"),
            stride=tuple(attributes["stride"]),
            padding=padding,
            dilation=tuple(dilation(attributes)),
            groups=attributes["groups"],
        )


def dilation(attributes: Mapping[str, Any]) -> list[int]:
    """Distance between taps of the kernel; graphs written before there was one have none."""
    return list(attributes.get("dilation", [1, 1]))


def _pad(x, padding):
    top, left, bottom, right = four_pads(padding)
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _grouped(x, groups):
    """[B, C, H, W] -> [B, G, C/G, H, W]"""
    return x.reshape(x.shape[0], groups, -1, *x.shape[2:])


def _grouped_weight(weight, groups):
    """[out, in/G, kh, kw] -> [G, out/G, in/G, kh, kw]"""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _positions(x, attributes):
    sizes = zip(x.shape[-2:], attributes["kernel"], attributes["stride"], dilation(attributes))
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sizes)


def _taps(x, attributes, height, width):
    """Every kernel tap (u, v) with the strided view of ``x`` it multiplies."""
    (kh, kw), (sh, sw), (dh, dw) = attributes["kernel"], attributes["stride"], dilation(attributes)
    for u in range(kh):
        for v in range(kw):
            y, z = u * dh, v * dw
            yield u, v, x[..., y : y + sh * (height - 1) + 1 : sh, z : z + sw * (width - 1) + 1 : sw]


register(Conv2d())
