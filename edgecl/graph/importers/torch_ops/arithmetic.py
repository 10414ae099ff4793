"""Arithmetic and comparisons of several tensors, of torch."""

from __future__ import annotations

import numpy as np

from ..affine import affine
from ..emit import Emit
from ..foreign import Unsupported, Value
from .registry import HANDLERS, Call, as_value, aten

BINARY = {
    "add": ("add", np.add), "sub": ("sub", np.subtract), "mul": ("mul", np.multiply), "div": ("div", np.true_divide),
    "true_divide": ("div", np.true_divide), "maximum": ("maximum", np.maximum), "minimum": ("minimum", np.minimum),
    "lt": ("less", np.less), "le": ("less_equal", np.less_equal), "gt": ("greater", np.greater),
    "ge": ("greater_equal", np.greater_equal), "eq": ("equal", np.equal), "logical_and": ("logical_and",
    np.logical_and),
    "logical_or": ("logical_or", np.logical_or), "remainder": ("floor_mod", np.mod), "fmod": ("trunc_mod", np.fmod),
}  # fmt: skip


def _operand(emit: Emit, c: Call, key: str) -> Value:
    """A parameter in arithmetic stays trained."""
    v = as_value(c[key])
    if isinstance(v, np.ndarray) and key in c.names and v.dtype.kind == "f":
        return emit.constant(v, trained=True, key=c.names[key])
    return v


def _binary(emit: Emit, c: Call) -> Value:
    name, fold = BINARY[c.op]
    if c.get("rounding_mode") is not None:
        raise Unsupported("divides with rounding")
    alpha = c.get("alpha", 1)
    a, b = as_value(c["self"]), as_value(c["other"])
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return fold(a, b * alpha if alpha != 1 else b)
    a, b = _operand(emit, c, "self"), _operand(emit, c, "other")
    if alpha != 1:
        b = (
            b * np.float32(alpha)
            if isinstance(b, np.ndarray)
            else emit.function("scale_shift", b, scale=float(alpha), shift=0.0)
        )
    return affine(emit, name, [a, b]) or emit.arithmetic(name, [a, b], fold)


for _name in BINARY:
    HANDLERS[_name] = _binary


@aten("rsub")
def _rsub(emit: Emit, c: Call) -> Value:
    a, b = as_value(c["other"]), as_value(c["self"])
    return affine(emit, "sub", [a, b]) or emit.arithmetic("sub", [a, b], np.subtract)


@aten("pow")
def _pow(emit: Emit, c: Call) -> Value:
    x, e = as_value(c["self"]), as_value(c["exponent"])
    if isinstance(x, np.ndarray) and isinstance(e, np.ndarray):
        return np.power(x, e)
    if isinstance(e, np.ndarray) and e.size == 1:
        exponent = float(e.ravel()[0])
        plain = {1.0: "identity", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}.get(exponent)
        return emit.function(plain, x) if plain else emit.function("power", x, exponent=exponent)
    return emit.arithmetic("pow", [x, e], np.power)


@aten("rsqrt")
def _rsqrt(emit: Emit, c: Call) -> Value:
    return emit.function("power", as_value(c["self"]), exponent=-0.5)


@aten("where")
def _where(emit: Emit, c: Call) -> Value:
    return emit.arithmetic("where", [as_value(c["condition"]), as_value(c["self"]), as_value(c["other"])], np.where)


@aten("masked_fill")
def _masked_fill(emit: Emit, c: Call) -> Value:
    return emit.arithmetic("where", [as_value(c["mask"]), as_value(c["value"]), as_value(c["self"])], np.where)
