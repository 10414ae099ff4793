"""Elementwise functions of one tensor: a table of (f, f') and one operator for each row.

A row gives f and its derivative in numpy, the torch twin, and the attributes with their defaults, in the order in which
the kernels take them (at most two). `kernels/functions.h` holds the same functions in float32; of
``from_output`` rows the derivative is of the output there, which frees the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import any_input

LARGEST = 3.4028234663852886e38  # of float32: "no bound"
SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805
_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: np.ndarray) -> np.ndarray:
    return _erf(x).astype(x.dtype) if x.size else x


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@dataclass(frozen=True)
class Row:
    """f(x, *attributes), its derivative by x, the torch twin t(torch, x, *attributes)."""

    f: Callable[..., np.ndarray]
    d: Callable[..., Any]
    t: Callable[..., Any]
    attributes: Mapping[str, float] = field(default_factory=dict)
    from_output: bool = False
    gradient: bool = True  # False: zero everywhere (steps)


def _mish_slope(x: np.ndarray) -> np.ndarray:
    t = np.tanh(_softplus(x))
    return t + x * sigmoid(x) * (1 - t * t)


def _gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    t = _gelu_tanh(x)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


def _step(f: Callable[..., np.ndarray], t: Callable[..., Any]) -> Row:
    return Row(f, lambda x: np.zeros_like(x), t, gradient=False)


def _exp_below(x: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(x, 0))


TABLE: dict[str, Row] = {
    "identity": Row(lambda x: x, np.ones_like, lambda T, x: x),
    "neg": Row(np.negative, lambda x: -np.ones_like(x), lambda T, x: -x),
    "abs": Row(np.abs, np.sign, lambda T, x: x.abs()),
    "square": Row(np.square, lambda x: 2 * x, lambda T, x: x * x),
    "sqrt": Row(np.sqrt, lambda x: 0.5 / np.sqrt(x), lambda T, x: x.sqrt(), from_output=True),
    "exp": Row(np.exp, np.exp, lambda T, x: x.exp(), from_output=True),
    "log": Row(np.log, lambda x: 1 / x, lambda T, x: x.log()),
    "reciprocal": Row(lambda x: 1 / x, lambda x: -1 / (x * x), lambda T, x: x.reciprocal(), from_output=True),
    "floor": _step(np.floor, lambda T, x: x.floor()),
    "ceil": _step(np.ceil, lambda T, x: x.ceil()),
    "round": _step(np.rint, lambda T, x: x.round()),
    "sign": _step(np.sign, lambda T, x: x.sign()),
    "sin": Row(np.sin, np.cos, lambda T, x: x.sin()),
    "cos": Row(np.cos, lambda x: -np.sin(x), lambda T, x: x.cos()),
    "erf": Row(erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x), lambda T, x: x.erf()),
    "logical_not": _step(lambda x: (x == 0).astype(x.dtype), lambda T, x: (x == 0).to(x.dtype)),
    "scale_shift": Row(
        lambda x, a, b: a * x + b, lambda x, a, b: np.full_like(x, a), lambda T, x, a, b: a * x + b,
        {"scale": 1.0, "shift": 0.0},
    ),
    "power": Row(
        lambda x, p: np.power(x, p), lambda x, p: p * np.power(x, p - 1) if p else np.zeros_like(x),
        lambda T, x, p: x.pow(p), {"exponent": 2.0},
    ),
    "clip": Row(
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        lambda x, low, high: ((x > low) & (x < high)).astype(x.dtype),
        lambda T, x, low, high: T.where((x > low) & (x < high), x, x.detach().clamp(low, high)),
        {"low": -LARGEST, "high": LARGEST},
    ),
    "leaky_relu": Row(
        lambda x, a: np.where(x < 0, a * x, x), lambda x, a: np.where(x > 0, 1, a),
        lambda T, x, a: T.nn.functional.leaky_relu(x, a), {"alpha": 0.01},
    ),
    "thresholded_relu": Row(
        lambda x, a: np.where(x > a, x, 0), lambda x, a: (x > a).astype(x.dtype),
        lambda T, x, a: T.nn.functional.threshold(x, a, 0.0), {"alpha": 1.0},
    ),
    "elu": Row(
        lambda x, a: np.where(x > 0, x, a * (_exp_below(x) - 1)), lambda x, a: np.where(x > 0, 1, a * _exp_below(x)),
        lambda T, x, a: T.where(x > 0, x, a * (x.clamp(max=0.0).exp() - 1)), {"alpha": 1.0},
    ),
    "selu": Row(
        lambda x, a, g: g * np.where(x > 0, x, a * (_exp_below(x) - 1)),
        lambda x, a, g: g * np.where(x > 0, 1, a * _exp_below(x)),
        lambda T, x, a, g: g * T.where(x > 0, x, a * (x.clamp(max=0.0).exp() - 1)),
        {"alpha": SELU_ALPHA, "gamma": SELU_GAMMA},
    ),
    "celu": Row(
        lambda x, a: np.where(x > 0, x, a * (_exp_below(x / a) - 1)),
        lambda x, a: np.where(x > 0, 1, _exp_below(x / a)),
        lambda T, x, a: T.nn.functional.celu(x, a), {"alpha": 1.0},
    ),
    "sigmoid": Row(
        sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)), lambda T, x: x.sigmoid(), from_output=True
    ),
    "hard_sigmoid": Row(
        lambda x, a, b: np.clip(a * x + b, 0, 1), lambda x, a, b: a * ((a * x + b > 0) & (a * x + b < 1)),
        lambda T, x, a, b: T.clamp(a * x + b, 0, 1), {"alpha": 1 / 6, "beta": 0.5}, from_output=True,
    ),
    "hard_swish": Row(
        lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda x: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)),
        lambda T, x: T.nn.functional.hardswish(x),
    ),
    "silu": Row(
        lambda x, a: x * sigmoid(a * x), lambda x, a: sigmoid(a * x) * (1 + a * x * (1 - sigmoid(a * x))),
        lambda T, x, a: x * (a * x).sigmoid(), {"alpha": 1.0},
    ),
    "mish": Row(lambda x: x * np.tanh(_softplus(x)), _mish_slope, lambda T, x: T.nn.functional.mish(x)),
    "gelu": Row(
        lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), lambda x: 0.5 * (1 + erf(x / math.sqrt(2))) + x * _normal(x),
        lambda T, x: T.nn.functional.gelu(x),
    ),
    "gelu_tanh": Row(
        lambda x: 0.5 * x * (1 + _gelu_tanh(x)), _gelu_tanh_slope,
        lambda T, x: T.nn.functional.gelu(x, approximate="tanh"),
    ),
    "tanh": Row(np.tanh, lambda x: 1 - np.tanh(x) ** 2, lambda T, x: x.tanh(), from_output=True),
    "softplus": Row(_softplus, sigmoid, lambda T, x: T.nn.functional.softplus(x)),
    "softsign": Row(
        lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2, lambda T, x: T.nn.functional.softsign(x)
    ),
}  # fmt: skip


class Elementwise(Operator):
    """f of every value, of a tensor of any shape; attributes as the table names them."""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.row, self.optional_attributes = name, row, dict(row.attributes)

    def constants(self, attributes: Mapping[str, Any]) -> list[float]:
        """The attributes in the order of the table."""
        return [float(attributes[k]) for k in self.row.attributes]

    def shape(self, inputs, attributes):
        return any_input(self.name, inputs)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return np.asarray(self.row.f(x, *self.constants(attributes)), x.dtype), x

    def backward(self, grad, context, params, attributes):
        return [(grad * self.row.d(context, *self.constants(attributes))).astype(grad.dtype)], {}

    def torch(self, inputs, params, attributes, training):
        return self.row.t(require("torch", "torch"), inputs[0], *self.constants(attributes))


for _name, _row in TABLE.items():
    register(Elementwise(_name, _row))
