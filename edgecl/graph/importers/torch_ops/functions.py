"""Functions of one tensor, of torch."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import LARGEST, Data, Unsupported, Value
from .registry import HANDLERS, Call, as_value, aten

UNARY = {
    "relu": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "exp": "exp", "log": "log", "sqrt": "sqrt",
    "neg": "neg", "abs": "abs", "erf": "erf", "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid", "mish": "mish",
    "softsign": "softsign", "reciprocal": "reciprocal", "floor": "floor", "ceil": "ceil", "round": "round",
    "sign": "sign",
    "sin": "sin", "cos": "cos", "square": "square", "silu": "silu", "selu": "selu", "logical_not": "logical_not",
}  # fmt: skip


FREE = (
    "contiguous", "clone", "alias", "detach", "lift_fresh_copy", "lift_fresh", "to", "_to_copy", "type_as",
    "feature_dropout",
    "alpha_dropout", "native_dropout",
)  # fmt: skip


def _unary(emit: Emit, c: Call) -> Value:
    return emit.function(UNARY[c.op], as_value(c.get("self", c.get("input"))))


for _name in UNARY:
    HANDLERS[_name] = _unary


@aten(*FREE)
def _free(emit: Emit, c: Call) -> Value:
    x = as_value(next(iter(c.arguments.values())) if "self" not in c.arguments else c["self"])
    if "input" in c.arguments:
        x = as_value(c["input"])
    kind = str(c.get("dtype", ""))
    if isinstance(x, Data) and any(t in kind for t in ("float64", "int", "bool", "float16")):
        raise Unsupported(f"casts the network's data to {kind}")
    return x


@aten("dropout")
def _dropout(emit: Emit, c: Call) -> Value:
    x, p = emit.data(c.get("input", c.get("self"))), float(c["p"])
    if not 0 < p < 1:
        return x
    return emit.add("dropout", [x], x, p=p)


@aten("clamp", "clamp_min", "clamp_max", "hardtanh", "clip")
def _clamp(emit: Emit, c: Call) -> Value:
    low = c.get("min", c.get("min_val"))
    high = c.get("max", c.get("max_val"))
    if isinstance(low, Data) or isinstance(high, Data):
        raise Unsupported("takes its bounds from the network's data")
    low, high = (-LARGEST if low is None else float(low)), (LARGEST if high is None else float(high))
    x = as_value(c["self"])
    if isinstance(x, np.ndarray):
        return np.clip(x, low, high).astype(x.dtype)
    if (low, high) == (0.0, 6.0):
        return emit.function("relu6", x)
    return emit.function("relu", x) if low == 0.0 and high == LARGEST else emit.function("clip", x, low=low, high=high)


@aten("leaky_relu")
def _leaky(emit: Emit, c: Call) -> Value:
    return emit.function("leaky_relu", as_value(c["self"]), alpha=float(c["negative_slope"]))


@aten("elu", "celu")
def _elu(emit: Emit, c: Call) -> Value:
    if float(c.get("scale", 1)) != 1 or float(c.get("input_scale", 1)) != 1:
        raise Unsupported("scales its input or output")
    return emit.function(c.op, as_value(c["self"]), alpha=float(c["alpha"]))


@aten("gelu")
def _gelu(emit: Emit, c: Call) -> Value:
    return emit.function("gelu_tanh" if c.get("approximate") == "tanh" else "gelu", as_value(c["self"]))


@aten("softplus")
def _softplus(emit: Emit, c: Call) -> Value:
    if float(c.get("beta", 1)) != 1:
        raise Unsupported(f"uses beta={c['beta']}")
    return emit.function("softplus", as_value(c["self"]))


@aten("threshold")
def _threshold(emit: Emit, c: Call) -> Value:
    if float(c["value"]) != 0:
        raise Unsupported(f"uses value={c['value']}")
    return emit.function("thresholded_relu", as_value(c["self"]), alpha=float(c["threshold"]))


@aten("prelu")
def _prelu(emit: Emit, c: Call) -> Value:
    x, slope = emit.data(c["self"]), emit.fixed(c["weight"], "slope")
    shape = [1] * len(x.shape)
    shape[0] = slope.size
    s = emit.constant(slope.reshape(shape), trained=True, key=c.names.get("weight", ""))
    return emit.arithmetic("prelu", [emit.batched(x), s], None)
