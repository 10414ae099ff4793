"""2-D transposed convolution: the gradient of a convolution by its input, as a layer; 1-D is a map of height 1.

y[b, o, i*sh + u*dh - ph, j*sw + v*dw - pw] += x[b, c, i, j] * weight[c, o, u, v]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import four_pads, one_map, refuse
from .conv2d import dilation


class ConvTranspose2d(Operator):
    """attributes: out, kernel, stride, padding (as of conv2d), output_padding, dilation, groups, bias.

    weight [in, out/groups, kh, kw], bias [out].
    """

    name = "conv_transpose2d"
    optional_attributes: Mapping[str, Any] = {
        "stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": False,
    }  # fmt: skip

    def shape(self, inputs, attributes):
        channels, *size = one_map(self.name, inputs)
        out, groups = attributes["out"], attributes["groups"]
        if out < 1 or groups < 1 or channels % groups or out % groups:
            raise refuse(self.name, inputs, f"{groups} groups do not divide {channels} input and {out} output channels")
        if min(*attributes["kernel"], *attributes["stride"], *attributes["dilation"]) < 1:
            raise refuse(self.name, inputs, "kernel, stride and dilation must be positive")
        pads = four_pads(attributes["padding"])
        sizes = []
        for i, n in enumerate(size):
            k, s, d, more = (attributes[a][i] for a in ("kernel", "stride", "dilation", "output_padding"))
            sizes.append((n - 1) * s + (k - 1) * d + 1 + more - pads[i] - pads[i + 2])
        if min(sizes) < 1 or min(*pads, *attributes["output_padding"]) < 0:
            raise refuse(self.name, inputs, f"padding {attributes['padding']} leaves nothing")
        return (out, *sizes)

    def parameters(self, inputs, attributes):
        out, kernel = attributes["out"] // attributes["groups"], attributes["kernel"]
        fan_in = out * kernel[0] * kernel[1]
        specs = {"weight": ParameterSpec("", (inputs[0][0], out, *kernel), "weight", "kaiming_uniform", fan_in)}
        if attributes["bias"]:
            specs["bias"] = ParameterSpec("", (attributes["out"],), "bias", "bias_uniform", fan_in)
        return specs

    def weight_positions(self, inputs, output):
        return inputs[0][1] * inputs[0][2]

    def _whole(self, x, attributes):
        """Height and width before the padding is taken away, at least what the output needs of them."""
        _, height, width = self.shape([x.shape[1:]], attributes)
        top, left, _, _ = four_pads(attributes["padding"])
        sizes = []
        for i, (n, before, out) in enumerate(zip(x.shape[2:], (top, left), (height, width))):
            k, s, d = (attributes[a][i] for a in ("kernel", "stride", "dilation"))
            sizes.append(max((n - 1) * s + (k - 1) * d + 1, before + out))
        return sizes, (top, left, height, width)

    def _taps(self, whole, x, attributes):
        (kh, kw), (sh, sw), (dh, dw) = attributes["kernel"], attributes["stride"], dilation(attributes)
        height, width = x.shape[-2:]
        for u in range(kh):
            for v in range(kw):
                y, z = u * dh, v * dw
                yield u, v, whole[..., y : y + sh * (height - 1) + 1 : sh, z : z + sw * (width - 1) + 1 : sw]

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        groups, b = attributes["groups"], x.shape[0]
        weight = params["weight"].reshape(groups, -1, *params["weight"].shape[1:])
        xg = x.reshape(b, groups, -1, *x.shape[2:])
        (h, w), (top, left, height, width) = self._whole(x, attributes)
        whole = np.zeros((b, groups, weight.shape[2], h, w), x.dtype)
        for u, v, tap in self._taps(whole, x, attributes):
            tap += np.einsum("bgchw,gco->bgohw", xg, weight[..., u, v], optimize=True)
        y = whole[..., top : top + height, left : left + width].reshape(b, -1, height, width)
        if "bias" in params:
            y = y + params["bias"][:, None, None]
        return y, (x, whole.shape)

    def backward(self, grad, context, params, attributes):
        x, shape = context
        groups, b = attributes["groups"], x.shape[0]
        weight = params["weight"].reshape(groups, -1, *params["weight"].shape[1:])
        xg = x.reshape(b, groups, -1, *x.shape[2:])
        _, (top, left, height, width) = self._whole(x, attributes)
        whole = np.zeros(shape, grad.dtype)
        whole[..., top : top + height, left : left + width] = grad.reshape(b, groups, -1, height, width)
        dx, dw = np.zeros_like(xg), np.zeros_like(weight)
        for u, v, tap in self._taps(whole, x, attributes):
            dx += np.einsum("bgohw,gco->bgchw", tap, weight[..., u, v], optimize=True)
            dw[..., u, v] = np.einsum("bgchw,bgohw->gco", xg, tap, optimize=True)
        grads = {"weight": dw.reshape(params["weight"].shape)}
        if "bias" in params:
            grads["bias"] = grad.sum((0, 2, 3))
        return [dx.reshape(x.shape)], grads

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        _, (top, left, height, width) = self._whole(x, attributes)
        y = torch.nn.functional.conv_transpose2d(
            x, params["weight"], None, stride=tuple(attributes["stride"]), groups=attributes["groups"],
            dilation=tuple(attributes["dilation"]),
        )  # fmt: skip
        more = (max(0, left + width - y.shape[3]), max(0, top + height - y.shape[2]))
        y = torch.nn.functional.pad(y, (0, more[0], 0, more[1]))[:, :, top : top + height, left : left + width]
        return y if "bias" not in params else y + params["bias"][:, None, None]


register(ConvTranspose2d())
