"""Sum of two tensors of the same shape (the end of a residual block)."""

from __future__ import annotations

from ..registry import Operator, register
from ._check import refuse


class Add(Operator):
    name = "add"

    def shape(self, inputs, attributes):
        if len(inputs) != 2 or tuple(inputs[0]) != tuple(inputs[1]):
            raise refuse(self.name, inputs, "it takes two inputs of the same shape")
        return inputs[0]

    def forward(self, inputs, params, attributes, training):
        return inputs[0] + inputs[1], None

    def backward(self, grad, context, params, attributes):
        return [grad, grad], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0] + inputs[1]


register(Add())
