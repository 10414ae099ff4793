"""How each operator of a graph is written in ONNX (opset 18): one function per operator, over a `Writer`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Node
from ..ops._check import four_pads
from ..ops.reduce import Sum
from ..registry import operator
from .onnx_writer import Writer

Handler = Callable[[Writer, Node], str]
HANDLERS: dict[str, Handler] = {}


def writes(*ops: str) -> Callable[[Handler], Handler]:
    def register(f: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, f))
        return f

    return register


# ---- elementwise -----------------------------------------------------------------------------------------------------
PLAIN = {
    "identity": "Identity", "neg": "Neg", "abs": "Abs", "sqrt": "Sqrt", "exp": "Exp", "log": "Log",
    "reciprocal": "Reciprocal", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "sin": "Sin",
    "cos": "Cos", "erf": "Erf", "relu": "Relu", "sigmoid": "Sigmoid", "hard_swish": "HardSwish", "mish": "Mish",
    "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign",
}  # fmt: skip
ATTRIBUTES = {
    "leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu", "celu": "Celu", "hard_sigmoid": "HardSigmoid",
    "thresholded_relu": "ThresholdedRelu",
}  # fmt: skip


def _plain(w: Writer, n: Node) -> str:
    return w.node(PLAIN[n.op], [w.tensor(n.inputs[0])])


def _with_attributes(w: Writer, n: Node) -> str:
    names = operator(n.op).optional_attributes
    return w.node(ATTRIBUTES[n.op], [w.tensor(n.inputs[0])], **{k: float(n.attributes[k]) for k in names})


HANDLERS.update(dict.fromkeys(PLAIN, _plain) | dict.fromkeys(ATTRIBUTES, _with_attributes))


@writes("square")
def _square(w: Writer, n: Node) -> str:
    x = w.tensor(n.inputs[0])
    return w.node("Mul", [x, x])


@writes("scale_shift")
def _scale_shift(w: Writer, n: Node) -> str:
    y = w.node("Mul", [w.tensor(n.inputs[0]), w.number(n.attributes["scale"])])
    return w.node("Add", [y, w.number(n.attributes["shift"])]) if n.attributes["shift"] else y


@writes("power")
def _power(w: Writer, n: Node) -> str:
    return w.node("Pow", [w.tensor(n.inputs[0]), w.number(n.attributes["exponent"])])


@writes("clip", "relu6")
def _clip(w: Writer, n: Node) -> str:
    low, high = (0.0, 6.0) if n.op == "relu6" else (n.attributes["low"], n.attributes["high"])
    return w.node("Clip", [w.tensor(n.inputs[0]), w.number(low), w.number(high)])


@writes("silu")
def _silu(w: Writer, n: Node) -> str:
    x, alpha = w.tensor(n.inputs[0]), float(n.attributes["alpha"])
    inner = x if alpha == 1 else w.node("Mul", [x, w.number(alpha)])
    return w.node("Mul", [x, w.node("Sigmoid", [inner])])


@writes("gelu", "gelu_tanh")
def _gelu(w: Writer, n: Node) -> str:
    x = w.tensor(n.inputs[0])
    if n.op == "gelu":
        t = w.node("Erf", [w.node("Mul", [x, w.number(math.sqrt(0.5))])])
    else:
        cube = w.node("Mul", [w.node("Mul", [x, x]), x])
        inner = w.node("Add", [x, w.node("Mul", [cube, w.number(0.044715)])])
        t = w.node("Tanh", [w.node("Mul", [inner, w.number(math.sqrt(2 / math.pi))])])
    half = w.node("Mul", [x, w.number(0.5)])
    return w.node("Mul", [half, w.node("Add", [t, w.number(1.0)])])


@writes("logical_not")
def _not(w: Writer, n: Node) -> str:
    return w.cast(w.node("Equal", [w.tensor(n.inputs[0]), w.number(0.0)]), "float")


BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "minimum": "Min", "maximum": "Max"}
COMPARE = {
    "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "equal": "Equal",
}  # fmt: skip
LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}


@writes(*BINARY, *COMPARE, *LOGIC, "floor_mod", "trunc_mod", "prelu", "where")
def _arithmetic(w: Writer, n: Node) -> str:
    rank = max(len(w.graph.shapes[i]) for i in n.inputs)
    values = [w.lifted(i, rank) for i in n.inputs]
    if n.op in BINARY:
        return w.node(BINARY[n.op], values)
    if n.op in COMPARE:
        return w.cast(w.node(COMPARE[n.op], values), "float")
    if n.op in LOGIC:
        return w.cast(w.node(LOGIC[n.op], [w.cast(v, "bool") for v in values]), "float")
    if n.op == "where":
        return w.node("Where", [w.cast(values[0], "bool"), *values[1:]])
    if n.op == "trunc_mod":
        return w.node("Mod", values, fmod=1)
    a, b = values
    if n.op == "prelu":
        return w.node("Sub", [w.node("Relu", [a]), w.node("Mul", [w.node("Relu", [w.node("Neg", [a])]), b])])
    return w.node("Sub", [a, w.node("Mul", [b, w.node("Floor", [w.node("Div", [a, b])])])])


@writes("channel_scale")
def _channel_scale(w: Writer, n: Node) -> str:
    x, s = n.inputs
    return w.node("Mul", [w.tensor(x), w.reshape(w.tensor(s), [w.graph.shapes[s][0], 1, 1])])


@writes("dropout")
def _dropout(w: Writer, n: Node) -> str:
    return w.tensor(n.inputs[0])


# ---- layers ----------------------------------------------------------------------------------------------------------
@writes("normalise")
def _normalise(w: Writer, n: Node) -> str:
    shape = w.graph.shapes[n.inputs[0]]
    column = (-1,) + (1,) * (len(shape) - 1) if shape else ()
    mean, std = (np.asarray(n.attributes[k], np.float32).reshape(column) for k in ("mean", "std"))
    x = w.tensor(n.inputs[0])
    x = w.cast(x, "float") if w.graph.input_dtype != "float32" else x
    if mean.any():
        x = w.node("Sub", [x, w.constant(mean)])
    if (std != 1).any():
        x = w.node("Div", [x, w.constant(std)])
    pad = int(n.attributes.get("pad", 0))
    if pad:
        x = w.node("Pad", [x, w.integers([0, 0, pad, pad, 0, 0, pad, pad]), w.number(0.0)])
    return x


@writes("conv2d", "conv_transpose2d")
def _conv(w: Writer, n: Node) -> str:
    a = n.attributes
    inputs = [w.batched(n.inputs[0]), *(w.parameter(p) for p in n.parameters)]
    more: dict[str, Any] = {"output_padding": list(a["output_padding"])} if n.op == "conv_transpose2d" else {}
    return w.node(
        "Conv" if n.op == "conv2d" else "ConvTranspose", inputs, kernel_shape=list(a["kernel"]),
        strides=list(a["stride"]),
        pads=list(four_pads(a["padding"])), dilations=list(a.get("dilation", [1, 1])), group=int(a["groups"]), **more,
    )  # fmt: skip


@writes("linear")
def _linear(w: Writer, n: Node) -> str:
    weight = w.weights[n.parameters[0]]
    x, bias = w.batched(n.inputs[0]), [w.parameter(p) for p in n.parameters[1:]]
    if len(w.graph.shapes[n.inputs[0]]) == 1:
        return w.node("Gemm", [x, w.parameter(n.parameters[0]), *bias], transB=1)
    y = w.node("MatMul", [x, w.constant(np.ascontiguousarray(weight.T))])
    return w.node("Add", [y, bias[0]]) if bias else y


@writes("batch_norm")
def _batch_norm(w: Writer, n: Node) -> str:
    return w.node(
        "BatchNormalization", [w.batched(n.inputs[0]), *(w.parameter(p) for p in n.parameters)],
        epsilon=float(n.attributes["eps"]), momentum=1 - float(n.attributes["momentum"]),
    )  # fmt: skip


@writes("group_norm")
def _group_norm(w: Writer, n: Node) -> str:
    shape, groups = w.graph.shapes[n.inputs[0]], int(n.attributes["groups"])
    rows = w.reshape(w.batched(n.inputs[0]), [groups, math.prod(shape) // groups])
    ones, zeros = w.constant(np.ones(groups, np.float32)), w.constant(np.zeros(groups, np.float32))
    y = w.node("InstanceNormalization", [rows, ones, zeros], epsilon=float(n.attributes["eps"]))
    y = w.reshape(y, shape)
    column = (-1,) + (1,) * (len(shape) - 1)
    scale, shift = (w.constant(w.weights[p].reshape(column)) for p in n.parameters)
    return w.node("Add", [w.node("Mul", [y, scale]), shift])


@writes("layer_norm", "rms_norm")
def _layer_norm(w: Writer, n: Node) -> str:
    shape = w.graph.shapes[n.inputs[0]]
    axes = list(operator(n.op).axes(shape, n.attributes))  # type: ignore[attr-defined]
    eps = float(n.attributes["eps"])
    if n.op == "layer_norm" and axes == list(range(axes[0], len(shape))):
        inputs = [w.batched(n.inputs[0]), *(w.parameter(p) for p in n.parameters)]
        return w.node("LayerNormalization", inputs, axis=axes[0] + 1, epsilon=eps)
    x, over = w.batched(n.inputs[0]), w.integers([a + 1 for a in axes])
    if n.op == "layer_norm":
        x = w.node("Sub", [x, w.node("ReduceMean", [x, over], keepdims=1)])
    spread = w.node("ReduceMean", [w.node("Mul", [x, x]), over], keepdims=1)
    y = w.node("Div", [x, w.node("Sqrt", [w.node("Add", [spread, w.number(eps)])])])
    full = [m if a in axes else 1 for a, m in enumerate(shape)]
    y = w.node("Mul", [y, w.constant(w.weights[n.parameters[0]].reshape(full))])
    return w.node("Add", [y, w.constant(w.weights[n.parameters[1]].reshape(full))]) if n.op == "layer_norm" else y


@writes("lstm", "gru", "rnn")
def _recurrent(w: Writer, n: Node) -> str:
    hidden, gates = int(n.attributes["hidden"]), {"lstm": 4, "gru": 3, "rnn": 1}[n.op]
    order = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}[n.op]  # from i f g o, r z n

    def turned(value: np.ndarray) -> np.ndarray:
        return np.concatenate([value[g * hidden : (g + 1) * hidden] for g in order])

    # The product with the input stands before it; here it is the identity, which turns the order of the gates.
    eye = turned(np.eye(gates * hidden, dtype=np.float32))
    recurrent, bias = (turned(w.weights[p]) for p in n.parameters)
    both = np.concatenate([np.zeros(gates * hidden, np.float32), bias])
    x = w.node("Transpose", [w.batched(n.inputs[0])], perm=[1, 0, 2])
    more = {"linear_before_reset": int(n.attributes["reset_after"])} if n.op == "gru" else {}
    y = w.node(
        n.op.upper(), [x, *(w.constant(v[None]) for v in (eye, recurrent, both))], hidden_size=hidden,
        direction="reverse" if n.attributes["reverse"] else "forward", **more,
    )  # fmt: skip
    return w.node("Squeeze", [w.node("Transpose", [y], perm=[2, 0, 1, 3]), w.integers([2])])


@writes("matmul")
def _matmul(w: Writer, n: Node) -> str:
    rank = max(len(w.graph.shapes[i]) for i in n.inputs)
    y = w.node("MatMul", [w.lifted(i, rank) for i in n.inputs])
    scale = float(n.attributes["scale"])
    return y if scale == 1 else w.node("Mul", [y, w.number(scale)])


@writes("parameter")
def _parameter(w: Writer, n: Node) -> str:
    return w.parameter(n.parameters[0])


# ---- pools, reductions -----------------------------------------------------------------------------------------------
@writes("avg_pool", "max_pool")
def _pool(w: Writer, n: Node) -> str:
    a = n.attributes
    more: dict[str, Any] = {"dilations": list(a["dilation"])} if "dilation" in a else {}
    if n.op == "avg_pool":
        more["count_include_pad"] = int(a.get("count_include_pad", True))
    return w.node(
        "AveragePool" if n.op == "avg_pool" else "MaxPool", [w.batched(n.inputs[0])], kernel_shape=list(a["kernel"]),
        strides=list(a["stride"]), pads=list(four_pads(a["padding"])), ceil_mode=int(a.get("ceil", False)), **more,
    )  # fmt: skip


@writes("global_avg_pool")
def _global(w: Writer, n: Node) -> str:
    return w.node("ReduceMean", [w.batched(n.inputs[0]), w.integers([2, 3])], keepdims=0)


REDUCE = {
    "reduce_sum": "ReduceSum", "reduce_mean": "ReduceMean", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd", "log_sum_exp": "ReduceLogSumExp",
}  # fmt: skip


@writes(*REDUCE)
def _reduce(w: Writer, n: Node) -> str:
    axes = Sum().axes(w.graph.shapes[n.inputs[0]], n.attributes)
    if not axes:
        return w.tensor(n.inputs[0])
    over = w.integers([a + 1 for a in axes])
    return w.node(REDUCE[n.op], [w.batched(n.inputs[0]), over], keepdims=int(n.attributes["keep"]))


@writes("argmax")
def _argmax(w: Writer, n: Node) -> str:
    (axis,) = Sum().axes(w.graph.shapes[n.inputs[0]], n.attributes)
    last = int(n.attributes["last"])
    y = w.node(
        "ArgMax", [w.batched(n.inputs[0])], axis=axis + 1, keepdims=int(n.attributes["keep"]), select_last_index=last
    )
    return w.cast(y, "float")


@writes("softmax", "log_softmax")
def _softmax(w: Writer, n: Node) -> str:
    axis = n.attributes["axis"] % len(w.graph.shapes[n.inputs[0]]) + 1
    return w.node("Softmax" if n.op == "softmax" else "LogSoftmax", [w.batched(n.inputs[0])], axis=axis)


@writes("unit_norm")
def _unit_norm(w: Writer, n: Node) -> str:
    x = w.batched(n.inputs[0])
    over = w.integers([a + 1 for a in Sum().axes(w.graph.shapes[n.inputs[0]], n.attributes)])
    length = w.node("ReduceL2", [x, over], keepdims=1)
    return w.node("Div", [x, w.node("Max", [length, w.number(n.attributes["eps"])])])


# ---- shapes ----------------------------------------------------------------------------------------------------------
@writes("flatten", "reshape")
def _reshape(w: Writer, n: Node) -> str:
    return w.reshape(w.batched(n.inputs[0]), w.graph.shapes[n.output])


@writes("transpose")
def _transpose(w: Writer, n: Node) -> str:
    return w.node("Transpose", [w.batched(n.inputs[0])], perm=[0, *(a + 1 for a in n.attributes["axes"])])


@writes("expand")
def _expand(w: Writer, n: Node) -> str:
    shape = list(n.attributes["shape"])
    return w.node("Expand", [w.lifted(n.inputs[0], len(shape)), w.integers([1, *shape])])


@writes("concat")
def _concat(w: Writer, n: Node) -> str:
    axis = n.attributes["axis"] % len(w.graph.shapes[n.output])
    return w.node("Concat", [w.whole(i) for i in n.inputs], axis=axis + 1)


@writes("slice")
def _slice(w: Writer, n: Node) -> str:
    a = n.attributes
    ends = [s + m * t for s, m, t in zip(a["start"], a["size"], a["step"])]
    ends = [e if e >= 0 else -(2**31) for e in ends]
    axes = [i + 1 for i in range(len(ends))]
    return w.node("Slice", [w.batched(n.inputs[0]), *(w.integers(v) for v in (a["start"], ends, axes, a["step"]))])


@writes("pad")
def _pad(w: Writer, n: Node) -> str:
    sides = [0, *n.attributes["before"], 0, *n.attributes["after"]]
    return w.node("Pad", [w.batched(n.inputs[0]), w.integers(sides), w.number(n.attributes["value"])])


@writes("resample")
def _resample(w: Writer, n: Node) -> str:
    """A gather where every row is one value, else a product with the dense matrix."""
    shape, a = w.graph.shapes[n.inputs[0]], n.attributes
    axis, x = a["axis"] % len(shape), w.batched(n.inputs[0])
    if all(len(c) == 1 and v == [1.0] for c, v in zip(a["columns"], a["weights"])):
        return w.node("Gather", [x, w.integers([c[0] for c in a["columns"]])], axis=axis + 1)
    matrix = operator("resample").matrix([shape], a).astype(np.float32).T  # type: ignore[attr-defined]
    order = [0, *(i + 1 for i in range(len(shape)) if i != axis), axis + 1]
    back = [order.index(i) for i in range(len(order))]
    y = w.node("MatMul", [w.node("Transpose", [x], perm=order), w.constant(np.ascontiguousarray(matrix))])
    return w.node("Transpose", [y], perm=back)


def unsupported(nodes: Sequence[Node]) -> Mapping[str, str]:
    """Nodes that cannot be written: {place: operator}."""
    return {n.name: n.op for n in nodes if n.op not in HANDLERS}
