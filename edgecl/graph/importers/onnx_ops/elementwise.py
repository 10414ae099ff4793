"""ONNX operators that work value by value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..affine import affine
from ..emit import Emit
from ..foreign import LARGEST, Data, Value
from ..onnx_forms import Form
from .registry import HANDLERS, onnx

ARITHMETIC = {
    "Add": ("add", np.add), "Sub": ("sub", np.subtract), "Mul": ("mul", np.multiply), "Pow": ("pow", np.power),
    "Less": ("less", np.less), "LessOrEqual": ("less_equal", np.less_equal), "Greater": ("greater", np.greater),
    "GreaterOrEqual": ("greater_equal", np.greater_equal), "Equal": ("equal", np.equal),
    "And": ("logical_and", np.logical_and), "Or": ("logical_or", np.logical_or), "Xor": ("logical_xor", np.logical_xor),
}  # fmt: skip


UNARY = {
    "Relu": ("relu", lambda x: np.maximum(x, 0)), "Neg": ("neg", np.negative), "Abs": ("abs", np.abs), "Exp": ("exp",
    np.exp),
    "Sqrt": ("sqrt", np.sqrt), "Log": ("log", np.log), "Floor": ("floor", np.floor), "Ceil": ("ceil", np.ceil),
    "Round": ("round", np.rint), "Sign": ("sign", np.sign), "Sin": ("sin", np.sin), "Cos": ("cos", np.cos),
    "Reciprocal": ("reciprocal", lambda x: (1 / x).astype(x.dtype)), "Not": ("logical_not", np.logical_not),
    "Erf": ("erf", None), "Sigmoid": ("sigmoid", None), "Tanh": ("tanh", np.tanh), "Softplus": ("softplus", None),
    "Softsign": ("softsign", None), "Mish": ("mish", None), "HardSwish": ("hard_swish", None),
    "Identity": ("identity", lambda x: x),
}  # fmt: skip


FREE = ("Identity", "StopGradient")


def _old_broadcast(emit: Emit, form: Form) -> list[Value]:
    """Before opset 7 the second operand's axes stood where ``axis`` said."""
    values = [form.input(i) for i in range(2)]
    axis = form.attribute("axis")
    if form.opset < 7 and form.attribute("broadcast", 0) and axis is not None:
        rank = len(emit.foreign(values[0]))
        own = emit.foreign(values[1])
        more = rank - int(axis) % rank - len(own)
        if more:
            values[1] = emit.reshape(values[1], [*own, *[1] * more], allow_zero=True)
    return values


def _two(emit: Emit, form: Form) -> Value:
    name, fold = ARITHMETIC[form.op]
    values = _old_broadcast(emit, form)
    if name == "pow" and isinstance(values[0], Data) and isinstance(values[1], np.ndarray) and values[1].size == 1:
        exponent = float(values[1].ravel()[0])
        plain = {1.0: "identity", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}.get(exponent)
        return emit.function(plain, values[0]) if plain else emit.function("power", values[0], exponent=exponent)
    found = affine(emit, name, values)
    return emit.arithmetic(name, values, fold) if found is None else found


for _name in ARITHMETIC:
    HANDLERS[_name] = _two


@onnx("Div")
def _div(emit: Emit, form: Form) -> Value:
    values = _old_broadcast(emit, form)

    def fold(a, b):
        if a.dtype.kind not in "iu":
            return np.divide(a, b)
        q = a // b  # rounds down where ONNX rounds to zero
        return (q + ((a % b != 0) & ((a < 0) != (b < 0)))).astype(a.dtype)

    found = affine(emit, "div", values)
    return emit.arithmetic("div", values, fold) if found is None else found


@onnx("Mod")
def _mod(emit: Emit, form: Form) -> Value:
    trunc = bool(form.attribute("fmod", 0))
    return emit.arithmetic(
        "trunc_mod" if trunc else "floor_mod", [form.input(0), form.input(1)], np.fmod if trunc else np.mod
    )


@onnx("Max", "Min", "Sum", "Mean")
def _several(emit: Emit, form: Form) -> Value:
    op, fold = {
        "Max": ("maximum", np.maximum), "Min": ("minimum", np.minimum), "Sum": ("add", np.add), "Mean": ("add", np.add),
    }[form.op]  # fmt: skip
    total = form.input(0)
    for i in range(1, len(form.inputs)):
        total = emit.arithmetic(op, [total, form.input(i)], fold)
    if form.op == "Mean" and len(form.inputs) > 1:
        n = len(form.inputs)
        return (
            total / n if isinstance(total, np.ndarray) else emit.function("scale_shift", total, scale=1 / n, shift=0.0)
        )
    return total


def _one(emit: Emit, form: Form) -> Value:
    name, fold = UNARY[form.op]
    x = form.input(0)
    if name == "identity":
        return x
    return emit.function(name, x, fold)


for _name in UNARY:
    HANDLERS[_name] = _one


@onnx("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "ThresholdedRelu", "Gelu", "Swish", "QuickGelu")
def _activation(emit: Emit, form: Form) -> Value:
    a = form.attribute
    name, attributes = {
        "LeakyRelu": ("leaky_relu", {"alpha": a("alpha", 0.01)}), "Elu": ("elu", {"alpha": a("alpha", 1.0)}),
        "Selu": ("selu", {"alpha": a("alpha", 1.6732631921768188), "gamma": a("gamma", 1.0507010221481323)}),
        "Celu": ("celu", {"alpha": a("alpha", 1.0)}),
        "HardSigmoid": ("hard_sigmoid", {"alpha": a("alpha", 0.2), "beta": a("beta", 0.5)}),
        "ThresholdedRelu": ("thresholded_relu", {"alpha": a("alpha", 1.0)}),
        "Gelu": ("gelu_tanh" if a("approximate", "none") == "tanh" else "gelu", {}),
        "Swish": ("silu", {"alpha": a("alpha", 1.0)}), "QuickGelu": ("silu", {"alpha": a("alpha", 1.702)}),
    }[form.op]  # fmt: skip
    return emit.function(name, form.input(0), **{k: float(v) for k, v in attributes.items()})


@onnx("Clip")
def _clip(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    low = form.number(emit, 1, "min", -LARGEST)
    high = form.number(emit, 2, "max", LARGEST)
    if isinstance(x, np.ndarray):
        info = np.iinfo(x.dtype) if x.dtype.kind in "iu" else np.finfo(x.dtype)
        return np.minimum(np.maximum(x, max(low, info.min)), min(high, info.max)).astype(x.dtype)
    if low <= 0 and low == 0 and high >= LARGEST:
        return emit.function("relu", x)
    if (low, high) == (0.0, 6.0):
        return emit.function("relu6", x)
    return emit.function("clip", x, low=max(low, -LARGEST), high=min(high, LARGEST))


@onnx("PRelu")
def _prelu(emit: Emit, form: Form) -> Value:
    x, slope = emit.data(form.input(0)), form.input(1)
    if isinstance(slope, np.ndarray) and x.batch is not None:
        own = emit.foreign(x)
        if form.opset < 7 and slope.ndim == 1 and slope.size > 1:
            slope = slope.reshape([-1] + [1] * (len(own) - 2))
        slope = slope.reshape([1] * (len(own) - slope.ndim) + list(slope.shape))
        slope = emit.constant(np.squeeze(slope, x.batch) if not x.merged else slope, trained=True, key=form.names[1])
    return emit.arithmetic("prelu", [x, slope], None)


@onnx("Where")
def _where(emit: Emit, form: Form) -> Value:
    return emit.arithmetic("where", [form.input(i) for i in range(3)], np.where)


@onnx("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "IsNaN", "IsInf")
def _folded(emit: Emit, form: Form) -> Value:
    """Computed on constants only."""
    values = [form.array(emit, i, "operands") for i in range(len(form.inputs))]
    if form.op == "IsInf":
        wanted = np.zeros(values[0].shape, bool)
        for sign, name in ((1, "detect_positive"), (-1, "detect_negative")):
            if form.attribute(name, 1):
                wanted |= values[0] == sign * np.inf
        return wanted
    f: Callable[..., np.ndarray] = {
        "BitwiseAnd": np.bitwise_and,
        "BitwiseOr": np.bitwise_or,
        "BitwiseXor": np.bitwise_xor,
        "BitwiseNot": np.invert,
        "IsNaN": np.isnan,
        "BitShift": np.left_shift if form.attribute("direction") == "LEFT" else np.right_shift,
    }[form.op]
    return f(*values)
