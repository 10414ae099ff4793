"""Elementwise functions of two or three tensors, repeated along axes of size 1 as numpy does.

The batch is no axis of a shape, so nothing mixes samples; a `parameter` is the same for all of them. ``add`` of equal
shapes is the end of a residual block and runs together with the normalisation and activation around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import aligned, broadcast, refuse, summed_to


@dataclass(frozen=True)
class Row:
    """f(*inputs), the derivative by each input (None: no gradient), the torch twin t(torch, *inputs)."""

    f: Callable[..., Any]
    d: tuple[Callable[..., Any] | None, ...]
    t: Callable[..., Any]


def _compare(f: Callable[..., Any], name: str) -> Row:
    return Row(f, (None, None), lambda T, a, b: getattr(T, name)(a, b).to(a.dtype))


def _half(above: np.ndarray, equal: np.ndarray) -> np.ndarray:
    return above + 0.5 * equal


def _pow_b(a, b):
    return np.where(a > 0, np.power(a, b) * np.log(np.where(a > 0, a, 1)), 0)


TABLE: dict[str, Row] = {
    "add": Row(np.add, (lambda a, b: 1, lambda a, b: 1), lambda T, a, b: a + b),
    "sub": Row(np.subtract, (lambda a, b: 1, lambda a, b: -1), lambda T, a, b: a - b),
    "mul": Row(np.multiply, (lambda a, b: b, lambda a, b: a), lambda T, a, b: a * b),
    "div": Row(np.divide, (lambda a, b: 1 / b, lambda a, b: -a / (b * b)), lambda T, a, b: a / b),
    "pow": Row(
        np.power, (lambda a, b: b * np.power(a, b - 1), _pow_b), lambda T, a, b: T.pow(a, b)
    ),
    "minimum": Row(
        np.minimum, (lambda a, b: _half(a < b, a == b), lambda a, b: _half(b < a, a == b)),
        lambda T, a, b: T.minimum(a, b),
    ),
    "maximum": Row(
        np.maximum, (lambda a, b: _half(a > b, a == b), lambda a, b: _half(b > a, a == b)),
        lambda T, a, b: T.maximum(a, b),
    ),
    "prelu": Row(
        lambda a, b: np.where(a < 0, a * b, a),
        (lambda a, b: np.where(a > 0, 1, b), lambda a, b: np.where(a > 0, 0, a)),
        lambda T, a, b: T.where(a > 0, a, a * b),
    ),
    "where": Row(
        lambda c, a, b: np.where(c != 0, a, b), (None, lambda c, a, b: c != 0, lambda c, a, b: c == 0),
        lambda T, c, a, b: T.where(c != 0, a, b),
    ),
    "floor_mod": Row(np.mod, (None, None), lambda T, a, b: T.remainder(a.detach(), b.detach())),
    "trunc_mod": Row(np.fmod, (None, None), lambda T, a, b: T.fmod(a.detach(), b.detach())),
    "less": _compare(np.less, "lt"),
    "less_equal": _compare(np.less_equal, "le"),
    "greater": _compare(np.greater, "gt"),
    "greater_equal": _compare(np.greater_equal, "ge"),
    "equal": _compare(np.equal, "eq"),
    "logical_and": _compare(np.logical_and, "logical_and"),
    "logical_or": _compare(np.logical_or, "logical_or"),
    "logical_xor": _compare(np.logical_xor, "logical_xor"),
}  # fmt: skip


class Arithmetic(Operator):
    """f of values at the same place of two or three tensors."""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.row = name, row

    def shape(self, inputs, attributes):
        if len(inputs) != len(self.row.d):
            raise refuse(self.name, inputs, f"it takes {len(self.row.d)} inputs")
        return broadcast(self.name, inputs)

    def forward(self, inputs, params, attributes, training):
        rank = max(x.ndim for x in inputs) - 1
        xs = [aligned(x, rank) for x in inputs]
        return np.asarray(self.row.f(*xs), inputs[0].dtype), (xs, [x.shape for x in inputs])

    def backward(self, grad, context, params, attributes):
        xs, shapes = context
        grads = []
        for d, shape in zip(self.row.d, shapes):
            slope = 0 if d is None else d(*xs)
            grads.append(summed_to((grad * slope).astype(grad.dtype), shape))
        return grads, {}

    def torch(self, inputs, params, attributes, training):
        rank = max(x.ndim for x in inputs) - 1
        return self.row.t(require("torch", "torch"), *(aligned(x, rank) for x in inputs))


class ChannelScale(Operator):
    """A map [C, H, W] times a vector [C]: the end of squeeze-and-excitation."""

    name = "channel_scale"

    def shape(self, inputs, attributes):
        if len(inputs) != 2 or len(inputs[0]) != 3 or tuple(inputs[1]) != (inputs[0][0],):
            raise refuse(self.name, inputs, "it takes a map (C, H, W) and a vector (C,)")
        return inputs[0]

    def forward(self, inputs, params, attributes, training):
        x, s = inputs
        return x * s[:, :, None, None], (x, s)

    def backward(self, grad, context, params, attributes):
        x, s = context
        return [grad * s[:, :, None, None], (grad * x).sum((2, 3))], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0] * inputs[1][:, :, None, None]


register(ChannelScale())
for _name, _row in TABLE.items():
    register(Arithmetic(_name, _row))
