"""y = x weight^T + bias on vectors, or on the last axis of a tensor of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import require
from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import any_input, refuse


class Linear(Operator):
    """attributes: out, bias. weight [out, in], bias [out]."""

    name = "linear"
    optional_attributes: Mapping[str, Any] = {"bias": True}

    def shape(self, inputs, attributes):
        if len(inputs) != 1 or not inputs[0] or attributes["out"] < 1:
            raise refuse(self.name, inputs, "it takes one vector (F,) or tokens (.., F)")
        return (*any_input(self.name, inputs)[:-1], attributes["out"])

    def parameters(self, inputs, attributes):
        out, fan_in = attributes["out"], inputs[0][-1]
        specs = {"weight": ParameterSpec("", (out, fan_in), "weight", "kaiming_uniform", fan_in)}
        if attributes["bias"]:
            specs["bias"] = ParameterSpec("", (out,), "bias", "bias_uniform", fan_in)
        return specs

    def positions(self, output):
        return math.prod(output[:-1])

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        y = x @ params["weight"].T
        return (y + params["bias"] if "bias" in params else y), x

    def backward(self, grad, context, params, attributes):
        rows, x = grad.reshape(-1, grad.shape[-1]), context.reshape(-1, context.shape[-1])
        grads = {"weight": rows.T @ x}
        if "bias" in params:
            grads["bias"] = rows.sum(0)
        return [grad @ params["weight"]], grads

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        return torch.nn.functional.linear(inputs[0], params["weight"], params.get("bias"))


register(Linear())
