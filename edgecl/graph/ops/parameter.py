"""A tensor of the model's own, the same for every sample: position codes, class tokens, slopes, constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import any_input


class ParameterTensor(Operator):
    """attributes: shape; trained: false for a constant; init (see `ParameterSpec`), by rows of the last axis.

    No inputs; arrays have a batch of 1, which broadcasts.
    """

    name = "parameter"
    optional_attributes: Mapping[str, Any] = {"trained": True, "init": "zeros"}

    def shape(self, inputs, attributes):
        return any_input(self.name, [tuple(attributes["shape"])])

    def parameters(self, inputs, attributes):
        shape = tuple(attributes["shape"])
        role = "shift" if attributes["trained"] else "constant"
        return {"value": ParameterSpec("", shape, role, attributes.get("init", "zeros"), shape[-1] if shape else 0)}

    def forward(self, inputs, params, attributes, training):
        return params["value"][None], None

    def backward(self, grad, context, params, attributes):
        return [], {"value": np.asarray(grad).sum(0)} if attributes["trained"] else {}

    def torch(self, inputs, params, attributes, training):
        return params["value"][None]


register(ParameterTensor())
