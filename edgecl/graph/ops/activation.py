"""relu and relu6. The gradient is 0 at the kinks, as in torch."""

from __future__ import annotations

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import any_input


class Relu(Operator):
    """max(x, 0)."""

    name = "relu"

    def shape(self, inputs, attributes):
        return any_input(self.name, inputs)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return np.maximum(x, 0), x

    def backward(self, grad, context, params, attributes):
        return [np.where(context > 0, grad, 0)], {}

    def torch(self, inputs, params, attributes, training):
        return require("torch", "torch").relu(inputs[0])


class Relu6(Operator):
    """min(max(x, 0), 6)."""

    name = "relu6"

    def shape(self, inputs, attributes):
        return any_input(self.name, inputs)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return np.clip(x, 0, 6), x

    def backward(self, grad, context, params, attributes):
        return [np.where((context > 0) & (context < 6), grad, 0)], {}

    def torch(self, inputs, params, attributes, training):
        return require("torch", "torch").nn.functional.relu6(inputs[0])


register(Relu())
register(Relu6())
