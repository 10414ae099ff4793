"""How each ONNX operator becomes nodes of a graph. A handler takes the node's `Form` and returns its output values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .emit import Data, Emit, Missing, Mixes, Unsupported, Value
from .onnx_forms import Form, interpolation, window_pads

Handler = Callable[[Emit, Form], Value | Missing | tuple[Value, ...]]
HANDLERS: dict[str, Handler] = {}
LARGEST = 3.4028234663852886e38


def onnx(*names: str) -> Callable[[Handler], Handler]:
    def register(f: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, f))
        return f

    return register


# ---- elementwise -----------------------------------------------------------------------------------------------------
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
    found = _affine(emit, name, values)
    return emit.arithmetic(name, values, fold) if found is None else found


def _affine(emit: Emit, name: str, values: list[Value]) -> Value | None:
    """Sums and products with one number are a function of one tensor."""
    a, b = values
    for x, c, right in ((a, b, True), (b, a, False)):
        if (
            isinstance(x, Data)
            and isinstance(c, np.ndarray)
            and c.size == 1
            and c.ndim <= x.rank
            and name in ("add", "sub", "mul", "div")
        ):
            v = float(c.ravel()[0])
            if name == "div" and not right:
                y = emit.function("reciprocal", x)
                return y if v == 1 else emit.function("scale_shift", y, scale=v, shift=0.0)
            scale, shift = {
                "add": (1.0, v), "mul": (v, 0.0), "sub": (1.0, -v) if right else (-1.0, v),
                "div": (1 / v if v else np.inf, 0.0),
            }[name]  # fmt: skip
            if not np.isfinite([scale, shift]).all():
                return None
            return emit.function("scale_shift", x, scale=float(scale), shift=float(shift))
    return None


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

    found = _affine(emit, "div", values)
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


# ---- layers ----------------------------------------------------------------------------------------------------------
def _keys(form: Form, weight: int, bias: int) -> dict[str, str]:
    names = dict(enumerate(form.names))
    return {k: names[i] for k, i in (("weight", weight), ("bias", bias)) if names.get(i)}


def _spatial(emit: Emit, x: Value) -> list[int]:
    return emit.foreign(x)[2:]


@onnx("Conv", "FusedConv")
def _conv(emit: Emit, form: Form) -> Value:
    x, w = form.input(0), form.array(emit, 1, "weights")
    d = w.ndim - 2
    bias = None if form.get(2) is None else form.array(emit, 2, "bias")
    stride = list(form.attribute("strides", [1] * d))
    dilation = list(form.attribute("dilations", [1] * d))
    kernel = list(form.attribute("kernel_shape", w.shape[2:]))
    padding = window_pads(form, _spatial(emit, x), kernel, stride, dilation)
    y = emit.conv(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=int(form.attribute("group", 1)),
        keys=_keys(form, 1, 2),
    )  # fmt: skip
    return _fused_activation(emit, form, y)


def _fused_activation(emit: Emit, form: Form, y: Data) -> Value:
    kind = form.attribute("activation")
    if not kind:
        return y
    if kind == "Clip":
        low, high = form.attribute("activation_params", [-LARGEST, LARGEST])
        return emit.function("clip", y, low=float(low), high=float(high))
    if kind == "LeakyRelu":
        return emit.function("leaky_relu", y, alpha=float(form.attribute("activation_params", [0.01])[0]))
    if kind not in ("Relu", "Sigmoid", "Tanh"):
        raise Unsupported(f"fuses the activation '{kind}'")
    return emit.function(UNARY[kind][0], y)


@onnx("ConvTranspose")
def _conv_transpose(emit: Emit, form: Form) -> Value:
    x, w = form.input(0), form.array(emit, 1, "weights")
    d = w.ndim - 2
    bias = None if form.get(2) is None else form.array(emit, 2, "bias")
    stride = list(form.attribute("strides", [1] * d))
    dilation = list(form.attribute("dilations", [1] * d))
    more = list(form.attribute("output_padding", [0] * d))
    sizes, kernel = _spatial(emit, x), list(w.shape[2:])
    shape, auto = form.attribute("output_shape"), form.attribute("auto_pad", "NOTSET")
    pads = list(form.attribute("pads", [0] * (2 * d)))
    if shape is not None or auto.startswith("SAME"):
        target = list(shape)[-d:] if shape is not None else [n * s for n, s in zip(sizes, stride)]
        for i in range(d):
            full = (sizes[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1
            total = full + more[i] - target[i]
            if total < 0:
                more[i] += -total
                total = 0
            small = total // 2
            pads[i], pads[i + d] = (small, total - small) if auto == "SAME_UPPER" else (total - small, small)
    return emit.conv_transpose(
        x, w, bias, stride=stride, padding=pads, output_padding=more, dilation=dilation,
        groups=int(form.attribute("group", 1)), keys=_keys(form, 1, 2),
    )  # fmt: skip


@onnx("Gemm")
def _gemm(emit: Emit, form: Form) -> Value:
    a, b, c = form.input(0), form.input(1), form.get(2)
    alpha, beta = float(form.attribute("alpha", 1.0)), float(form.attribute("beta", 1.0))
    left, right = bool(form.attribute("transA", 0)), bool(form.attribute("transB", 0))
    if isinstance(a, Data) and not left and isinstance(b, np.ndarray) and a.rank == 2 and a.batch == 0:
        w = np.ascontiguousarray(b if right else b.T) * np.float32(alpha)
        if c is None or (isinstance(c, np.ndarray) and (c.size == 1 or c.size == w.shape[0] == c.shape[-1])):
            bias = None if c is None else np.broadcast_to(np.ravel(c) * beta, (w.shape[0],)).astype(np.float32)
            keys = _keys(form, 1, 2) if alpha == beta == 1.0 else None
            if keys and not right:
                keys = {k: f"{v}^T" if k == "weight" else v for k, v in keys.items()}
            return emit.linear(emit.data(a), w, bias, keys)
    turned = [emit.transpose(v, [1, 0]) if t else v for v, t in ((a, left), (b, right))]
    y = emit.matmul(turned[0], turned[1], alpha)
    if c is None:
        return y
    if beta != 1.0:
        c = (
            c * np.float32(beta)
            if isinstance(c, np.ndarray)
            else emit.function("scale_shift", c, scale=beta, shift=0.0)
        )
    return emit.arithmetic("add", [y, c], np.add)


@onnx("MatMul", "FusedMatMul")
def _matmul(emit: Emit, form: Form) -> Value:
    a, b = form.input(0), form.input(1)
    for i, name in enumerate(("transA", "transB")):
        if form.attribute(name, 0):
            v = (a, b)[i]
            order = list(range(len(emit.foreign(v))))
            order[-1], order[-2] = order[-2], order[-1]
            a, b = (emit.transpose(a, order), b) if i == 0 else (a, emit.transpose(b, order))
    scale = float(form.attribute("alpha", 1.0))
    y = emit.matmul(a, b, scale, form.names[1])
    return y


@onnx("Einsum")
def _einsum(emit: Emit, form: Form) -> Value:
    raise Unsupported("is not supported (write it as MatMul)")


# ---- normalisation ---------------------------------------------------------------------------------------------------
@onnx("BatchNormalization")
def _batch_norm(emit: Emit, form: Form) -> Value:
    if form.attribute("spatial", 1) == 0:
        raise Unsupported("normalises each position apart (spatial=0)")
    x = form.input(0)
    names = ("scale", "bias", "mean", "variance")
    scale, shift, mean, var = (form.array(emit, i + 1, n) for i, n in enumerate(names))
    eps, momentum = float(form.attribute("epsilon", 1e-5)), 1 - float(form.attribute("momentum", 0.9))
    return emit.batch_norm(x, scale, shift, mean, var, eps, momentum)


@onnx("InstanceNormalization")
def _instance_norm(emit: Emit, form: Form) -> Value:
    x = emit.batched(form.input(0))
    scale, shift = form.array(emit, 1, "scale"), form.array(emit, 2, "bias")
    return emit.group_norm(x, x.shape[0], scale, shift, float(form.attribute("epsilon", 1e-5)))


@onnx("GroupNormalization")
def _group_norm(emit: Emit, form: Form) -> Value:
    x, groups = emit.batched(form.input(0)), int(form.attribute("num_groups"))
    scale, shift = form.array(emit, 1, "scale"), form.array(emit, 2, "bias")
    if scale.size == groups and groups != x.shape[0]:  # of each group (before opset 21)
        scale, shift = (np.repeat(v, x.shape[0] // groups) for v in (scale, shift))
    return emit.group_norm(x, groups, scale, shift, float(form.attribute("epsilon", 1e-5)))


@onnx("LayerNormalization", "RMSNormalization")
def _layer_norm(emit: Emit, form: Form) -> Value | tuple[Value, ...]:
    x = emit.data(form.input(0))
    axis = int(form.attribute("axis", -1)) % x.rank
    eps, rms = float(form.attribute("epsilon", 1e-5)), form.op == "RMSNormalization"
    axes = list(range(axis, x.rank))
    shift = None if form.get(2) is None else form.array(emit, 2, "bias")
    y = emit.layer_norm(x, axes, form.array(emit, 1, "scale"), shift, eps, rms)
    if len([o for o in form.outputs if o]) == 1:
        return y
    mean = emit.reduce("reduce_mean", x, axes, True)
    centred = emit.arithmetic("sub", [x, mean], None)
    var = emit.reduce("reduce_mean", emit.function("square", centred), axes, True)
    deviation = emit.function("sqrt", emit.function("scale_shift", var, scale=1.0, shift=eps))
    return y, mean, emit.function("reciprocal", deviation)


@onnx("LpNormalization")
def _lp_norm(emit: Emit, form: Form) -> Value:
    x = emit.data(form.input(0))
    axis, p = int(form.attribute("axis", -1)), int(form.attribute("p", 2))
    if p == 2:
        return emit.add("unit_norm", [x], x, axes=[x.own(axis)], eps=1e-12)
    total = emit.reduce("reduce_sum", emit.function("abs", x), [axis], True)
    return emit.arithmetic("div", [x, emit.function("clip", total, low=1e-12, high=LARGEST)], None)


@onnx("MeanVarianceNormalization")
def _mvn(emit: Emit, form: Form) -> Value:
    x = emit.data(form.input(0))
    axes = [a for a in form.attribute("axes", [0, 2, 3])]
    return emit.layer_norm(x, axes, None, None, 1e-9)


@onnx("LRN")
def _lrn(emit: Emit, form: Form) -> Value:
    x = emit.batched(form.input(0))
    size, alpha = int(form.attribute("size")), float(form.attribute("alpha", 1e-4))
    beta, bias = float(form.attribute("beta", 0.75)), float(form.attribute("bias", 1.0))
    n, before = x.shape[0], (size - 1) // 2
    near = [[j for j in range(i - before, i - before + size) if 0 <= j < n] for i in range(n)]
    total = emit.resample(emit.function("square", x), 1, near, [[alpha / size] * len(r) for r in near])
    factor = emit.function("power", emit.function("scale_shift", total, scale=1.0, shift=bias), exponent=-beta)
    return emit.arithmetic("mul", [x, factor], None)


@onnx("Softmax", "LogSoftmax")
def _softmax(emit: Emit, form: Form) -> Value:
    op = "softmax" if form.op == "Softmax" else "log_softmax"
    x = form.input(0)
    if isinstance(x, np.ndarray):
        raise Unsupported("works on a constant")
    if form.opset >= 13:
        return emit.along(op, x, int(form.attribute("axis", -1)))
    own = emit.foreign(x)
    axis = int(form.attribute("axis", 1)) % len(own)
    if axis == len(own) - 1:
        return emit.along(op, x, axis)
    flat = emit.reshape(x, [*own[:axis], math.prod(own[axis:])], allow_zero=True)
    return emit.reshape(emit.along(op, flat, -1), own, allow_zero=True)


# ---- reductions and pools --------------------------------------------------------------------------------------------
REDUCE = {
    "ReduceMean": "reduce_mean", "ReduceSum": "reduce_sum", "ReduceMax": "reduce_max", "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod", "ReduceLogSumExp": "log_sum_exp", "ReduceL1": "reduce_sum", "ReduceL2": "reduce_sum",
    "ReduceSumSquare": "reduce_sum", "ReduceLogSum": "reduce_sum",
}  # fmt: skip


def _reduce(emit: Emit, form: Form) -> Value:
    x, keep = form.input(0), bool(form.attribute("keepdims", 1))
    axes = form.numbers(emit, 1, "axes")
    if not axes and form.attribute("noop_with_empty_axes", 0):
        empty = {"ReduceL1": "abs", "ReduceL2": "abs", "ReduceSumSquare": "square", "ReduceLogSum": "log"}
        return emit.function(empty[form.op], x) if form.op in empty else x
    first = {"ReduceL1": "abs", "ReduceL2": "square", "ReduceSumSquare": "square"}.get(form.op)
    if first:
        x = emit.function(first, x)
    y = emit.reduce(REDUCE[form.op], x, axes, keep)
    last = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}.get(form.op)
    return emit.function(last, y) if last else y


for _name in REDUCE:
    HANDLERS[_name] = _reduce


@onnx("ArgMax", "ArgMin")
def _argmax(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    if isinstance(x, np.ndarray):
        raise Unsupported("works on a constant")
    if form.op == "ArgMin":
        x = emit.function("neg", x)
    return emit.reduce(
        "argmax", x, [int(form.attribute("axis", 0))], bool(form.attribute("keepdims", 1)),
        last=bool(form.attribute("select_last_index", 0)),
    )  # fmt: skip


@onnx("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(emit: Emit, form: Form) -> Value:
    x = emit.data(form.input(0))
    op = "reduce_mean" if form.op == "GlobalAveragePool" else "reduce_max"
    return emit.reduce(op, x, list(range(2, x.rank)), True)


@onnx("GlobalLpPool")
def _global_lp(emit: Emit, form: Form) -> Value:
    x, p = emit.data(form.input(0)), float(form.attribute("p", 2))
    powered = emit.function("power", emit.function("abs", x), exponent=p)
    return emit.function("power", emit.reduce("reduce_sum", powered, list(range(2, x.rank)), True), exponent=1 / p)


@onnx("AveragePool", "MaxPool", "LpPool")
def _pool(emit: Emit, form: Form) -> Value:
    if form.attribute("storage_order", 0):
        raise Unsupported("stores by columns (storage_order=1)")
    x, kernel = form.input(0), [int(k) for k in form.attribute("kernel_shape")]
    n = len(kernel)
    stride = [int(s) for s in form.attribute("strides", [1] * n)]
    dilation = [int(d) for d in form.attribute("dilations", [1] * n)]
    ceil = bool(form.attribute("ceil_mode", 0))
    pads = window_pads(form, _spatial(emit, x), kernel, stride, dilation)
    if form.op == "MaxPool":
        return emit.pool("max_pool", x, kernel, stride, pads, dilation, ceil=ceil), Missing("places of maxima")  # type: ignore[return-value]
    if form.op == "AveragePool":
        counted = bool(form.attribute("count_include_pad", 0))
        return _mean_pool(emit, x, kernel, stride, pads, dilation, ceil, counted)
    p = float(form.attribute("p", 2))
    y = emit.function("power", emit.function("abs", x), exponent=p) if p != 1 else emit.function("abs", x)
    y = _mean_pool(emit, y, kernel, stride, pads, dilation, ceil, None)
    return emit.function("power", y, exponent=1 / p) if p != 1 else y


def _mean_pool(emit: Emit, x: Value, kernel, stride, pads, dilation, ceil: bool, counted: bool | None) -> Data:
    """Means of windows; ``counted`` None: their sums. With dilation one axis after the other."""
    if dilation == [1] * len(kernel) and counted is not None:
        return emit.pool("avg_pool", x, kernel, stride, pads, ceil=ceil, count_include_pad=counted)
    x, n = emit.batched(x), len(kernel)
    for i in range(n):
        size = x.shape[1 + i]
        extent, before, after = (kernel[i] - 1) * dilation[i] + 1, pads[i], pads[i + n]
        free = size + before + after - extent
        out = (-(-free // stride[i]) if ceil else free // stride[i]) + 1
        if ceil and (out - 1) * stride[i] >= size + before:
            out -= 1
        columns, weights = [], []
        for j in range(out):
            taps = [j * stride[i] - before + k * dilation[i] for k in range(kernel[i])]
            inside = [t for t in taps if 0 <= t < size]
            padded = [t for t in taps if -before <= t < size + after]
            count = 1 if counted is None else max(1, len(padded if counted else inside))
            columns.append(inside)
            weights.append([1 / count] * len(inside))
        x = emit.data(emit.resample(x, 2 + i, columns, weights))
    return x


# ---- shapes ----------------------------------------------------------------------------------------------------------
@onnx("Shape")
def _shape(emit: Emit, form: Form) -> Value:
    own = np.array(emit.foreign(form.input(0)), np.int64)
    return own[slice(int(form.attribute("start", 0)), form.attribute("end"))]


@onnx("Size")
def _size(emit: Emit, form: Form) -> Value:
    return np.array(math.prod(emit.foreign(form.input(0))), np.int64)


@onnx("Constant")
def _constant(emit: Emit, form: Form) -> Value:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in form.attributes:
            value = form.attributes[name]
            kind = np.float32 if "float" in name else np.int64
            return value if isinstance(value, np.ndarray) else np.array(value, kind)
    raise Unsupported("holds neither numbers nor a tensor")


@onnx("ConstantOfShape")
def _constant_of_shape(emit: Emit, form: Form) -> Value:
    value = form.attribute("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.ravel()[0], [int(n) for n in form.array(emit, 0, "shape")])


@onnx("Range")
def _range(emit: Emit, form: Form) -> Value:
    start, limit, delta = (form.array(emit, i, "bounds").ravel()[0] for i in range(3))
    return np.arange(start, limit, delta)


@onnx("Reshape")
def _reshape(emit: Emit, form: Form) -> Value:
    target = form.numbers(emit, 1, "shape")
    if target is None:
        raise Unsupported("has no shape")
    return emit.reshape(form.input(0), target, bool(form.attribute("allowzero", 0)))


@onnx("Flatten")
def _flatten(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    own = emit.foreign(x)
    axis = int(form.attribute("axis", 1))
    axis += len(own) if axis < 0 else 0
    return emit.reshape(x, [math.prod(own[:axis]), math.prod(own[axis:])], allow_zero=True)


@onnx("Squeeze")
def _squeeze(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    axes = form.numbers(emit, 1, "axes")
    if axes is None:
        axes = [a for a, n in enumerate(emit.foreign(x)) if n == 1]
    return emit.squeeze(x, axes)


@onnx("Unsqueeze")
def _unsqueeze(emit: Emit, form: Form) -> Value:
    return emit.unsqueeze(form.input(0), form.numbers(emit, 1, "axes") or [])


@onnx("Transpose")
def _transpose(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    order = form.attribute("perm") or list(reversed(range(len(emit.foreign(x)))))
    return emit.transpose(x, [int(a) for a in order])


@onnx("Expand")
def _expand(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    target = [int(n) for n in form.array(emit, 1, "shape")]
    own = emit.foreign(x)
    rank = max(len(own), len(target))
    a, b = [1] * (rank - len(own)) + own, [1] * (rank - len(target)) + target
    return emit.expand(x, [m if n == 1 else n for n, m in zip(a, b)])


@onnx("Tile")
def _tile(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    repeats = [int(n) for n in form.array(emit, 1, "repeats")]
    if isinstance(x, np.ndarray):
        return np.tile(x, repeats)
    y: Value = x
    for axis, n in enumerate(repeats):
        if n != 1:
            y = emit.concat([y] * n, axis)
    return y


@onnx("Concat")
def _concat(emit: Emit, form: Form) -> Value:
    values = [v for v in form.inputs if v is not None]
    return values[0] if len(values) == 1 else emit.concat(values, int(form.attribute("axis", 1)))


@onnx("Split")
def _split(emit: Emit, form: Form) -> tuple[Value, ...]:
    x, axis = form.input(0), int(form.attribute("axis", 0))
    size, count = emit.foreign(x)[axis], len(form.outputs)
    sizes = form.numbers(emit, 1, "split")
    if sizes is None:
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    if sum(sizes) != size:
        raise Unsupported(f"splits {size} into {sizes}")
    ends = np.cumsum(sizes)
    return tuple(emit.slice(x, axis, int(e - n), int(e)) for e, n in zip(ends, sizes))


@onnx("Slice")
def _slice(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    starts, ends = form.numbers(emit, 1, "starts"), form.numbers(emit, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("has no bounds")
    axes = form.numbers(emit, 3, "axes") or list(range(len(starts)))
    steps = form.numbers(emit, 4, "steps") or [1] * len(starts)
    for axis, a, b, s in zip(axes, starts, ends, steps):
        x = emit.slice(x, axis, a, b, s)
    return x


@onnx("Gather")
def _gather(emit: Emit, form: Form) -> Value:
    return emit.gather(form.input(0), int(form.attribute("axis", 0)), form.array(emit, 1, "indices"))


@onnx("GatherND")
def _gather_nd(emit: Emit, form: Form) -> Value:
    x, at = emit.fixed(form.input(0), "table"), form.array(emit, 1, "indices")
    if form.attribute("batch_dims", 0):
        raise Unsupported("gathers by batches (batch_dims)")
    return x[tuple(np.moveaxis(at, -1, 0))]


@onnx("Pad")
def _pad(emit: Emit, form: Form) -> Value:
    x, pads = form.input(0), form.numbers(emit, 1, "pads") or [int(p) for p in form.attribute("paddings", [])]
    rank = len(emit.foreign(x))
    axes = form.numbers(emit, 3, "axes") or list(range(rank))
    value = form.number(emit, 2, "value", 0.0)
    before, after = [0] * rank, [0] * rank
    for i, a in enumerate(axes):
        before[a], after[a] = pads[i], pads[i + len(axes)]
    mode = form.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"pads by '{mode}'")
    return emit.pad(x, before, after, mode, value)


@onnx("DepthToSpace", "SpaceToDepth")
def _depth(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    b, c, h, w = emit.foreign(x)
    n = int(form.attribute("blocksize"))
    if form.op == "SpaceToDepth":
        y = emit.reshape(x, [b, c, h // n, n, w // n, n])
        order = [0, 1, 3, 5, 2, 4] if form.attribute("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
        return emit.reshape(emit.transpose(y, order), [b, c * n * n, h // n, w // n])
    if form.attribute("mode", "DCR") == "DCR":
        y = emit.transpose(emit.reshape(x, [b, n, n, c // (n * n), h, w]), [0, 3, 4, 1, 5, 2])
    else:
        y = emit.transpose(emit.reshape(x, [b, c // (n * n), n, n, h, w]), [0, 1, 4, 2, 5, 3])
    return emit.reshape(y, [b, c // (n * n), h * n, w * n])


@onnx("Resize", "Upsample")
def _resize(emit: Emit, form: Form) -> Value:
    x, old = form.input(0), form.op == "Upsample" or form.opset < 11
    own = emit.foreign(x)
    mode = form.attribute("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        raise Unsupported(f"interpolates by '{mode}'")
    if form.attribute("antialias", 0):
        raise Unsupported("smooths before it shrinks (antialias)")
    scales = form.get(1 if old else 2)
    scales = form.attribute("scales") if scales is None else np.ravel(emit.fixed(scales, "scales"))
    sizes = None if old or form.get(3) is None else [int(n) for n in form.array(emit, 3, "sizes")]
    axes = [a % len(own) for a in form.attribute("axes", range(len(own)))]
    transform = "asymmetric" if old else form.attribute("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else form.attribute("nearest_mode", "round_prefer_floor")
    roi = form.get(1) if transform == "tf_crop_and_resize" else None
    bounds = np.ravel(emit.fixed(roi, "region")) if roi is not None else None
    if sizes is not None:
        policy = form.attribute("keep_aspect_ratio_policy", "stretch")
        ratio = [n / own[a] for n, a in zip(sizes, axes)]
        if policy != "stretch":
            one = (min if policy == "not_larger" else max)(ratio)
            ratio = [one] * len(axes)
            sizes = [int(np.floor(one * own[a] + 0.5)) for a in axes]
        scales = np.array(ratio)
    if scales is None or len(scales) != len(axes):
        raise Unsupported("has neither scales nor sizes that are constant")
    outside = float(form.attribute("extrapolation_value", 0.0))
    for i, a in enumerate(axes):
        n = own[a]
        out = sizes[i] if sizes is not None else int(np.floor(n * float(scales[i])))
        start, end = (0.0, 1.0) if bounds is None else (float(bounds[i]), float(bounds[i + len(axes)]))
        if out == n and float(scales[i]) == 1 and (start, end) == (0.0, 1.0):
            continue
        if isinstance(x, Data) and a == x.batch and not x.merged:
            raise Mixes
        crop = transform == "tf_crop_and_resize"
        columns, weights = interpolation(
            n, out, float(scales[i]), "nearest" if mode == "nearest" else "linear", transform, nearest, start, end,
            bool(form.attribute("exclude_outside", 0)), crop,
        )  # fmt: skip
        if crop and outside and any(not c for c in columns):
            raise Unsupported("fills places outside its region with a value")
        x = emit.resample(x, a, columns, weights, "resize")
    return x


@onnx("Trilu")
def _trilu(emit: Emit, form: Form) -> Value:
    x, k = form.input(0), 0 if form.get(1) is None else int(np.ravel(form.array(emit, 1, "diagonal"))[0])
    rows, columns = emit.foreign(x)[-2:]
    mask = (np.triu if form.attribute("upper", 1) else np.tril)(np.ones((rows, columns), np.float32), k)
    if isinstance(x, np.ndarray):
        return np.where(mask != 0, x, 0).astype(x.dtype)
    return emit.arithmetic("mul", [x, mask], None)


@onnx("Cast", "CastLike")
def _cast(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    if form.op == "CastLike":
        other = form.input(1)
        kind = np.dtype(np.float32) if isinstance(other, Data) else other.dtype
    else:
        kind = form.attribute("to")
    if isinstance(x, np.ndarray):
        return x.astype(kind)
    if np.dtype(kind).kind in "fb":
        return x
    raise Unsupported(f"casts the network's data to {np.dtype(kind).name}")


@onnx("Dropout")
def _dropout(emit: Emit, form: Form) -> Value | tuple[Value, ...]:
    ratio = form.number(emit, 1, "ratio", 0.5)
    training = form.get(2) is not None and bool(np.ravel(form.array(emit, 2, "training_mode"))[0])
    if training and ratio > 0:
        raise Unsupported("drops values at random (training_mode)")
    if len([o for o in form.outputs if o]) > 1:
        return form.input(0), np.ones(emit.foreign(form.input(0)), bool)
    return form.input(0)


@onnx("CumSum")
def _cumsum(emit: Emit, form: Form) -> Value:
    x, axis = emit.data(form.input(0)), int(np.ravel(form.array(emit, 1, "axis"))[0])
    n, exclusive, reverse = x.shape[x.own(axis)], form.attribute("exclusive", 0), form.attribute("reverse", 0)
    if reverse:
        columns = [list(range(i + bool(exclusive), n)) for i in range(n)]
    else:
        columns = [list(range(0, i + 1 - bool(exclusive))) for i in range(n)]
    return emit.resample(x, axis, columns, [[1.0] * len(c) for c in columns])


# ---- sequences -------------------------------------------------------------------------------------------------------
DEFAULT_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}


@onnx("LSTM", "GRU", "RNN")
def _recurrent(emit: Emit, form: Form) -> tuple[Value, ...]:
    x = emit.data(form.input(0))
    w, r = form.array(emit, 1, "weights"), form.array(emit, 2, "recurrent weights")
    directions, hidden = w.shape[0], r.shape[-1]
    wanted = [a.lower() for a in form.attribute("activations", [])]
    if wanted and wanted != DEFAULT_ACTIVATIONS[form.op] * directions:
        raise Unsupported(f"uses other activations (activations={wanted})")
    for name in ("clip", "input_forget"):
        if form.attribute(name):
            raise Unsupported(f"uses {name}={form.attribute(name)}")
    if form.get(7) is not None and np.any(form.array(emit, 7, "peepholes")):
        raise Unsupported("uses peepholes (P)")
    own = emit.foreign(x)
    lengths = form.get(4)
    if (
        lengths is not None
        and not (np.ravel(emit.fixed(lengths, "sequence_lens")) == own[int(form.attribute("layout", 0))]).all()
    ):
        raise Unsupported("uses sequences of different lengths (sequence_lens)")
    for i in (5, 6):
        if form.get(i) is not None and np.any(emit.fixed(form.input(i), "initial state")):
            raise Unsupported("starts from a state that is not zero (initial_h, initial_c)")
    across = int(form.attribute("layout", 0))  # 1: [B, T, F]
    single = x.batch is None
    if single:  # of one sample: [T, 1, F]
        if own[1 - across] != 1:
            raise Mixes
        x = emit._as(x, [own[across], own[2]], 1 - across)
    if x.batch != 1 - across:
        raise Mixes
    sequence = emit._as(x, x.shape, 0)
    n = {"LSTM": 4, "GRU": 3, "RNN": 1}[form.op] * hidden
    bias = np.zeros((directions, 2 * n), np.float32) if form.get(3) is None else form.array(emit, 3, "bias")
    outputs = []
    for d in range(directions):
        reverse = form.attribute("direction", "forward") == "reverse" or d == 1
        wd, rd, bi, br = (_gates(form.op, v, hidden) for v in (w[d], r[d], bias[d][:n], bias[d][n:]))
        more = {"reset_after": bool(form.attribute("linear_before_reset", 0))} if form.op == "GRU" else {}
        outputs.append(emit.recurrent(form.op.lower(), sequence, wd, rd, bi, br, reverse=reverse, **more))
    lasts = []
    for d, y in enumerate(outputs):  # (T, H) of each sample
        reverse = form.attribute("direction", "forward") == "reverse" or d == 1
        at = 0 if reverse else y.shape[0] - 1
        lasts.append(emit.data(emit.slice(y, 1, at, at + 1)))
    joined = [emit.data(emit.unsqueeze(y, [2])) for y in outputs]  # [B, T, 1, H]
    whole: Value = emit.concat(joined, 2) if directions > 1 else joined[0]
    last: Value = emit.concat(lasts, 1) if directions > 1 else lasts[0]  # [B, D, H]
    y_all: Value = whole if across else emit.transpose(whole, [1, 2, 0, 3])
    y_last: Value = last if across else emit.transpose(last, [1, 0, 2])
    if single:
        y_all, y_last = (_as_one_sample(emit, v) for v in (y_all, y_last))
    return y_all, y_last, Missing("the last cell state (Y_c)")  # type: ignore[return-value]


def _as_one_sample(emit: Emit, value: Value) -> Value:
    """With the batch as an axis of size 1 of the whole foreign tensor."""
    return emit._as(emit.data(value), [1 if n == emit.many else n for n in emit.foreign(value)], None)


def _gates(op: str, value: np.ndarray, hidden: int) -> np.ndarray:
    """From ONNX's order of gates to torch's: i o f c -> i f g o, z r h -> r z n."""
    if op == "RNN":
        return value
    order = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2]}[op]
    parts = [value[i * hidden : (i + 1) * hidden] for i in order]
    return np.concatenate(parts)


ATTENTION = {
    "is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision",
    "left_window_size", "right_window_size",
}  # fmt: skip


@onnx("Attention")
def _attention(emit: Emit, form: Form) -> tuple[Value, ...]:
    if set(form.attributes) - ATTENTION:
        raise Unsupported(f"uses {sorted(set(form.attributes) - ATTENTION)[0]}")
    q, k, v = (form.input(i) for i in range(3))
    flat = len(emit.foreign(q)) == 3
    if flat:
        heads, groups = form.attribute("q_num_heads"), form.attribute("kv_num_heads")
        q, k, v = (_heads(emit, x, n) for x, n in ((q, heads), (k, groups), (v, groups)))
    past = 0
    if form.get(4) is not None and form.get(5) is not None:
        past = emit.foreign(form.input(4))[2]
        k, v = emit.concat([form.input(4), k], 2), emit.concat([form.input(5), v], 2)
    present = k, v
    h, t, d = emit.foreign(q)[1:]
    kv, s = emit.foreign(k)[1:3]
    if kv != h:
        k, v = (_repeat_heads(emit, x, h // kv) for x in (k, v))
    scale = form.attribute("scale") or d**-0.5
    shown = scores = emit.matmul(q, emit.transpose(k, [0, 1, 3, 2]), float(scale))
    mode, cap = int(form.attribute("qk_matmul_output_mode", 0)), float(form.attribute("softcap", 0.0) or 0.0)
    if cap:
        inner = emit.function("scale_shift", scores, scale=1 / cap, shift=0.0)
        shown = scores = emit.function("scale_shift", emit.function("tanh", inner), scale=cap, shift=0.0)
    bias, lost = _attention_bias(emit, form, t, s, past)
    if bias is not None:
        scores = emit.arithmetic("add", [scores, bias], None)
    if mode == 2:
        shown = scores
    weights = emit.along("softmax", scores, -1)
    if lost is not None:  # rows that may look at nothing give zero
        weights = emit.data(emit.arithmetic("mul", [weights, lost], None))
    if mode == 3:
        shown = weights
    y = emit.matmul(weights, v)
    if flat:
        y = emit.transpose(y, [0, 2, 1, 3])
        own = emit.foreign(y)
        y = emit.reshape(y, [*own[:2], own[2] * own[3]], allow_zero=True)
    return y, *present, shown


def _attention_bias(emit: Emit, form: Form, t: int, s: int, past: int) -> tuple[Value | None, np.ndarray | None]:
    """What is added to the scores, and zeros for the rows that may look at nothing."""
    mask, bias = form.get(3), np.zeros((t, s), np.float32)
    lengths = form.get(6)
    counts = None if lengths is None else np.ravel(emit.fixed(lengths, "lengths"))
    if isinstance(mask, Data):
        if form.attribute("is_causal", 0) or counts is not None:
            raise Unsupported("takes its mask from the network's data and limits it as well")
        return mask, None
    if mask is not None:
        if mask.shape[-1] < s:
            fill = False if mask.dtype == bool else -np.inf
            mask = np.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, s - mask.shape[-1])], constant_values=fill)
        bias = bias + (np.where(mask, 0, -np.inf) if mask.dtype == bool else mask)
    left, right = int(form.attribute("left_window_size", -1)), int(form.attribute("right_window_size", -1))
    causal = bool(form.attribute("is_causal", 0))
    if causal or left >= 0 or right >= 0:
        offset = np.array(past) if counts is None or past else (counts - t).reshape(-1, 1, 1, 1)
        away = np.arange(t)[:, None] + offset - np.arange(s)[None, :]
        allowed = (away >= 0) if causal else np.ones_like(away, bool)
        allowed = allowed & ((away <= left) if left >= 0 else True) & ((-away <= right) if right >= 0 else True)
        bias = bias + np.where(allowed, 0, -np.inf)
    if counts is not None:
        bias = bias + np.where(np.arange(s) < counts.reshape(-1, 1, 1, 1), 0, -np.inf)
    bias = bias.astype(np.float32)
    lost = np.isneginf(bias.max(-1, keepdims=True))
    if not bias.any():
        return None, None
    return bias, np.where(lost, 0, 1).astype(np.float32) if lost.any() else None


def _heads(emit: Emit, x: Value, heads: int) -> Value:
    b, t, f = emit.foreign(x)
    return emit.transpose(emit.reshape(x, [b, t, heads, f // heads], allow_zero=True), [0, 2, 1, 3])


def _repeat_heads(emit: Emit, x: Value, times: int) -> Value:
    b, h, t, d = emit.foreign(x)
    y = emit.expand(emit.unsqueeze(x, [2]), [b, h, times, t, d])
    return emit.reshape(y, [b, h * times, t, d], allow_zero=True)
