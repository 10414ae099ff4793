"""(C, H, W) -> (C*H*W,) in that order."""

from __future__ import annotations

import math

from ..registry import Operator, register
from ._check import any_input


class Flatten(Operator):
    name = "flatten"

    def shape(self, inputs, attributes):
        return (math.prod(any_input(self.name, inputs)),)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return x.reshape(x.shape[0], -1), x.shape

    def backward(self, grad, context, params, attributes):
        return [grad.reshape(context)], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].flatten(1)


register(Flatten())
