"""Products of two tensors, sample by sample: what attention is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..registry import Operator, register
from ._check import aligned, broadcast, refuse, summed_to


class MatMul(Operator):
    """[.., M, K] x [.., K, N] -> scale * [.., M, N]; axes in front are repeated as numpy does."""

    name = "matmul"
    optional_attributes: Mapping[str, Any] = {"scale": 1.0}

    def shape(self, inputs, attributes):
        if len(inputs) != 2 or min(len(s) for s in inputs) < 2 or inputs[0][-1] != inputs[1][-2]:
            raise refuse(self.name, inputs, "it takes matrices (.., M, K) and (.., K, N)")
        front = broadcast(self.name, [s[:-2] for s in inputs])
        return (*front, inputs[0][-2], inputs[1][-1])

    def macs(self, inputs, attributes):
        count = inputs[0][-1]
        for n in self.shape(inputs, attributes):
            count *= n
        return count

    def forward(self, inputs, params, attributes, training):
        rank = max(x.ndim for x in inputs) - 1
        a, b = (aligned(x, rank) for x in inputs)
        return (a @ b) * a.dtype.type(attributes["scale"]), (a, b, [x.shape for x in inputs])

    def backward(self, grad, context, params, attributes):
        a, b, shapes = context
        grad = grad * grad.dtype.type(attributes["scale"])
        da, db = grad @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ grad
        return [summed_to(da, shapes[0]), summed_to(db, shapes[1])], {}

    def torch(self, inputs, params, attributes, training):
        rank = max(x.ndim for x in inputs) - 1
        a, b = (aligned(x, rank) for x in inputs)
        return (a @ b) * attributes["scale"]


register(MatMul())
