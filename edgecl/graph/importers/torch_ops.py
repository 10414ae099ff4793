"""How each node of torch.export's graph becomes nodes of ours. In-place variants are read as the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .emit import Data, Emit, Missing, Unsupported, Value
from .onnx_forms import interpolation

LARGEST = 3.4028234663852886e38


@dataclass
class Call:
    """One node: its arguments by name, and what the module calls those that are parameters."""

    op: str
    arguments: Mapping[str, Any]
    names: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.arguments.get(key, default)


Handler = Callable[[Emit, Call], Any]
HANDLERS: dict[str, Handler] = {}


def aten(*names: str) -> Callable[[Handler], Handler]:
    def register(f: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, f))
        return f

    return register


def _value(v: Any) -> Value:
    return v if isinstance(v, (Data, np.ndarray)) else np.array(v, np.float32 if isinstance(v, float) else None)


def _pair(v: Any, n: int = 2) -> list[int]:
    v = [v] if isinstance(v, int) else list(v)
    return [int(a) for a in (v * n if len(v) == 1 else v)]


def _weights(c: Call, emit: Emit, *names: str) -> list[Any]:
    return [None if c.get(n) is None else emit.fixed(c[n], n) for n in names]


def _keys(c: Call) -> dict[str, str]:
    return {k: c.names[k] for k in ("weight", "bias") if k in c.names}


# ---- functions of one tensor -----------------------------------------------------------------------------------------
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
    return emit.function(UNARY[c.op], _value(c.get("self", c.get("input"))))


for _name in UNARY:
    HANDLERS[_name] = _unary


@aten(*FREE)
def _free(emit: Emit, c: Call) -> Value:
    x = _value(next(iter(c.arguments.values())) if "self" not in c.arguments else c["self"])
    if "input" in c.arguments:
        x = _value(c["input"])
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
    x = _value(c["self"])
    if isinstance(x, np.ndarray):
        return np.clip(x, low, high).astype(x.dtype)
    if (low, high) == (0.0, 6.0):
        return emit.function("relu6", x)
    return emit.function("relu", x) if low == 0.0 and high == LARGEST else emit.function("clip", x, low=low, high=high)


@aten("leaky_relu")
def _leaky(emit: Emit, c: Call) -> Value:
    return emit.function("leaky_relu", _value(c["self"]), alpha=float(c["negative_slope"]))


@aten("elu", "celu")
def _elu(emit: Emit, c: Call) -> Value:
    if float(c.get("scale", 1)) != 1 or float(c.get("input_scale", 1)) != 1:
        raise Unsupported("scales its input or output")
    return emit.function(c.op, _value(c["self"]), alpha=float(c["alpha"]))


@aten("gelu")
def _gelu(emit: Emit, c: Call) -> Value:
    return emit.function("gelu_tanh" if c.get("approximate") == "tanh" else "gelu", _value(c["self"]))


@aten("softplus")
def _softplus(emit: Emit, c: Call) -> Value:
    if float(c.get("beta", 1)) != 1:
        raise Unsupported(f"uses beta={c['beta']}")
    return emit.function("softplus", _value(c["self"]))


@aten("threshold")
def _threshold(emit: Emit, c: Call) -> Value:
    if float(c["value"]) != 0:
        raise Unsupported(f"uses value={c['value']}")
    return emit.function("thresholded_relu", _value(c["self"]), alpha=float(c["threshold"]))


@aten("prelu")
def _prelu(emit: Emit, c: Call) -> Value:
    x, slope = emit.data(c["self"]), emit.fixed(c["weight"], "slope")
    shape = [1] * len(x.shape)
    shape[0] = slope.size
    s = emit.constant(slope.reshape(shape), trained=True, key=c.names.get("weight", ""))
    return emit.arithmetic("prelu", [emit.batched(x), s], None)


# ---- of several ------------------------------------------------------------------------------------------------------
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
    v = _value(c[key])
    if isinstance(v, np.ndarray) and key in c.names and v.dtype.kind == "f":
        return emit.constant(v, trained=True, key=c.names[key])
    return v


def _binary(emit: Emit, c: Call) -> Value:
    name, fold = BINARY[c.op]
    if c.get("rounding_mode") is not None:
        raise Unsupported("divides with rounding")
    alpha = c.get("alpha", 1)
    a, b = _value(c["self"]), _value(c["other"])
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return fold(a, b * alpha if alpha != 1 else b)
    a, b = _operand(emit, c, "self"), _operand(emit, c, "other")
    if alpha != 1:
        b = (
            b * np.float32(alpha)
            if isinstance(b, np.ndarray)
            else emit.function("scale_shift", b, scale=float(alpha), shift=0.0)
        )
    return _scalar(emit, name, a, b) or emit.arithmetic(name, [a, b], fold)


def _scalar(emit: Emit, name: str, a: Value, b: Value) -> Value | None:
    from .onnx_ops import _affine

    return _affine(emit, name, [a, b])


for _name in BINARY:
    HANDLERS[_name] = _binary


@aten("rsub")
def _rsub(emit: Emit, c: Call) -> Value:
    a, b = _value(c["other"]), _value(c["self"])
    return _scalar(emit, "sub", a, b) or emit.arithmetic("sub", [a, b], np.subtract)


@aten("pow")
def _pow(emit: Emit, c: Call) -> Value:
    x, e = _value(c["self"]), _value(c["exponent"])
    if isinstance(x, np.ndarray) and isinstance(e, np.ndarray):
        return np.power(x, e)
    if isinstance(e, np.ndarray) and e.size == 1:
        exponent = float(e.ravel()[0])
        plain = {1.0: "identity", 2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}.get(exponent)
        return emit.function(plain, x) if plain else emit.function("power", x, exponent=exponent)
    return emit.arithmetic("pow", [x, e], np.power)


@aten("rsqrt")
def _rsqrt(emit: Emit, c: Call) -> Value:
    return emit.function("power", _value(c["self"]), exponent=-0.5)


@aten("where")
def _where(emit: Emit, c: Call) -> Value:
    return emit.arithmetic("where", [_value(c["condition"]), _value(c["self"]), _value(c["other"])], np.where)


@aten("masked_fill")
def _masked_fill(emit: Emit, c: Call) -> Value:
    return emit.arithmetic("where", [_value(c["mask"]), _value(c["value"]), _value(c["self"])], np.where)


# ---- layers ----------------------------------------------------------------------------------------------------------
@aten("linear")
def _linear(emit: Emit, c: Call) -> Value:
    weight, bias = _weights(c, emit, "weight", "bias")
    return emit.linear(emit.data(c["input"]), weight, bias, _keys(c))


@aten("addmm")
def _addmm(emit: Emit, c: Call) -> Value:
    bias, b = _weights(c, emit, "self", "mat2")
    return emit.linear(emit.data(c["mat1"]), np.ascontiguousarray(b.T), bias)


@aten("matmul", "mm", "bmm")
def _matmul(emit: Emit, c: Call) -> Value:
    key = next(k for k in ("other", "mat2") if k in c.arguments)
    a, b = _value(c["self"]), _value(c[key])
    if isinstance(a, np.ndarray) and "self" in c.names:
        a = emit.constant(a, trained=True, key=c.names["self"])
    if isinstance(b, np.ndarray) and key in c.names and b.ndim != 2:
        b = emit.constant(b, trained=True, key=c.names[key])
    return emit.matmul(a, b, keys=c.names.get(key, ""))


@aten("conv1d", "conv2d", "conv3d")
def _conv(emit: Emit, c: Call) -> Value:
    weight, bias = _weights(c, emit, "weight", "bias")
    n = weight.ndim - 2
    stride, dilation = _pair(c["stride"], n), _pair(c["dilation"], n)
    padding = c["padding"]
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation)]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = ([0] * n if padding == "valid" else _pair(padding, n)) * 2
    return emit.conv(
        c["input"], weight, bias, stride=stride, padding=pads, dilation=dilation, groups=int(c["groups"]), keys=_keys(c)
    )


@aten("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(emit: Emit, c: Call) -> Value:
    weight, bias = _weights(c, emit, "weight", "bias")
    n = weight.ndim - 2
    return emit.conv_transpose(
        c["input"], weight, bias, stride=_pair(c["stride"], n), padding=_pair(c["padding"], n) * 2,
        output_padding=_pair(c["output_padding"], n), dilation=_pair(c["dilation"], n), groups=int(c["groups"]),
        keys=_keys(c),
    )  # fmt: skip


@aten("batch_norm")
def _batch_norm(emit: Emit, c: Call) -> Value:
    scale, shift, mean, var = _weights(c, emit, "weight", "bias", "running_mean", "running_var")
    if mean is None:
        raise Unsupported("normalises by the batch also in prediction (track_running_stats=False)")
    ones = np.ones_like(mean)
    return emit.batch_norm(
        c["input"],
        ones if scale is None else scale,
        ones * 0 if shift is None else shift,
        mean,
        var,
        c["eps"],
        c["momentum"],
    )


@aten("group_norm")
def _group_norm(emit: Emit, c: Call) -> Value:
    scale, shift = _weights(c, emit, "weight", "bias")
    x = emit.batched(c["input"])
    ones = np.ones(x.shape[0], np.float32)
    return emit.group_norm(
        x, int(c["num_groups"]), ones if scale is None else scale, ones * 0 if shift is None else shift, c["eps"]
    )


@aten("instance_norm")
def _instance_norm(emit: Emit, c: Call) -> Value:
    if not c["use_input_stats"]:
        raise Unsupported("normalises by running statistics (track_running_stats)")
    scale, shift = _weights(c, emit, "weight", "bias")
    x = emit.batched(c["input"])
    ones = np.ones(x.shape[0], np.float32)
    return emit.group_norm(
        x, x.shape[0], ones if scale is None else scale, ones * 0 if shift is None else shift, c["eps"]
    )


@aten("layer_norm", "rms_norm")
def _layer_norm(emit: Emit, c: Call) -> Value:
    n = len(c["normalized_shape"])
    scale, shift = _weights(c, emit, "weight", "bias")
    eps = c["eps"] if c["eps"] is not None else 1.1920928955078125e-07
    return emit.layer_norm(c["input"], list(range(-n, 0)), scale, shift, eps, c.op == "rms_norm")


@aten("linalg_vector_norm", "norm")
def _norm(emit: Emit, c: Call) -> Value:
    p = c.get("ord", c.get("p", 2))
    axes, keep = c.get("dim"), bool(c.get("keepdim", False))
    axes = [axes] if isinstance(axes, int) else axes
    x = emit.data(c["self"])
    if p == 1:
        return emit.reduce("reduce_sum", emit.function("abs", x), axes, keep)
    if p != 2:
        raise Unsupported(f"takes the norm of order {p}")
    return emit.function("sqrt", emit.reduce("reduce_sum", emit.function("square", x), axes, keep))


@aten("softmax", "log_softmax", "_softmax", "_log_softmax")
def _softmax(emit: Emit, c: Call) -> Value:
    return emit.along(c.op.strip("_"), c["self"], int(c["dim"]))


@aten("scaled_dot_product_attention")
def _attention(emit: Emit, c: Call) -> Value:
    if c.get("dropout_p", 0.0):
        raise Unsupported("drops attention at random")
    q, k, v, mask = c["query"], c["key"], c["value"], c.get("attn_mask")
    rank = len(emit.foreign(q))
    t, s = emit.foreign(q)[-2], emit.foreign(k)[-2]
    scale = c.get("scale") or emit.foreign(q)[-1] ** -0.5
    turned = emit.transpose(k, [*range(rank - 2), rank - 1, rank - 2])
    scores = emit.matmul(q, turned, float(scale))
    if mask is not None:
        if isinstance(mask, np.ndarray) and mask.dtype == bool:
            mask = np.where(mask, 0, -1e30).astype(np.float32)
        elif isinstance(mask, np.ndarray) and "attn_mask" in c.names:
            mask = emit.constant(mask, trained=True, key=c.names["attn_mask"])
        scores = emit.arithmetic("add", [scores, _value(mask)], None)
    if c.get("is_causal"):
        causal = np.where(np.tril(np.ones((t, s), bool)), 0, -1e30).astype(np.float32)
        scores = emit.arithmetic("add", [scores, causal], None)
    return emit.matmul(emit.along("softmax", scores, -1), v)


# ---- reductions and pools --------------------------------------------------------------------------------------------
@aten("mean", "sum", "amax", "amin", "prod", "logsumexp")
def _reduce(emit: Emit, c: Call) -> Value:
    op = {
        "mean": "reduce_mean", "sum": "reduce_sum", "amax": "reduce_max", "amin": "reduce_min", "prod": "reduce_prod",
        "logsumexp": "log_sum_exp",
    }[c.op]  # fmt: skip
    axes = c.get("dim")
    axes = [axes] if isinstance(axes, int) else axes
    return emit.reduce(op, _value(c["self"]), axes, bool(c.get("keepdim", False)))


@aten("max", "min")
def _extreme(emit: Emit, c: Call) -> Any:
    op = f"reduce_{c.op}"
    if c.get("other") is not None:
        return emit.arithmetic(f"{c.op}imum", [_value(c["self"]), _value(c["other"])], None)
    if c.get("dim") is None:
        raise Unsupported("mixes the samples of a batch")
    return [emit.reduce(op, _value(c["self"]), [int(c["dim"])], bool(c["keepdim"])), None]


@aten("var", "std")
def _var(emit: Emit, c: Call) -> Value:
    x = emit.data(c["self"])
    axes = [c["dim"]] if isinstance(c.get("dim"), int) else list(c["dim"])
    count = math.prod(emit.foreign(x)[a] for a in axes)
    correction = c.get("correction", 1 if c.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    centred = emit.arithmetic("sub", [x, emit.reduce("reduce_mean", x, axes, True)], None)
    total = emit.reduce("reduce_sum", emit.function("square", centred), axes, bool(c.get("keepdim", False)))
    y = emit.function("scale_shift", total, scale=1.0 / (count - correction), shift=0.0)
    return emit.function("sqrt", y) if c.op == "std" else y


@aten("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
def _adaptive(emit: Emit, c: Call) -> Any:
    x = emit.batched(c["self"])
    sizes = _pair(c["output_size"], len(x.shape) - 1)
    largest = c.op == "adaptive_max_pool2d"
    if sizes == [1] * len(sizes):
        y = emit.reduce("reduce_max" if largest else "reduce_mean", x, list(range(2, x.rank)), True)
        return [y, None] if largest else y
    if largest:
        raise Unsupported(f"takes maxima of {sizes} regions")
    for i, out in enumerate(sizes):
        n = x.shape[1 + i]
        if n == out:
            continue
        ranges = [range(j * n // out, -(-(j + 1) * n // out)) for j in range(out)]
        x = emit.data(emit.resample(x, 2 + i, ranges, [[1 / len(r)] * len(r) for r in ranges]))
    return x


@aten("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices")
def _pool(emit: Emit, c: Call) -> Any:
    kernel = _pair(c["kernel_size"], next(int(n) for n in "123" if f"{n}d" in c.op))
    n = len(kernel)
    stride = _pair(c["stride"], n) if c["stride"] else kernel
    pads = _pair(c["padding"], n) * 2
    if c.op.startswith("max"):
        y = emit.pool("max_pool", c["self"], kernel, stride, pads, _pair(c["dilation"], n), ceil=bool(c["ceil_mode"]))
        return [y, None] if "indices" in c.op else y
    if c.get("divisor_override") is not None:
        raise Unsupported("divides by a number of its own (divisor_override)")
    return emit.pool("avg_pool", c["self"], kernel, stride, pads, ceil=bool(c["ceil_mode"]),
                     count_include_pad=bool(c["count_include_pad"]))  # fmt: skip


# ---- shapes ----------------------------------------------------------------------------------------------------------
@aten("view", "reshape", "_unsafe_view", "unflatten", "_reshape_alias")
def _view(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    if c.op == "unflatten":
        own, dim = emit.foreign(x), int(c["dim"])
        dim %= len(own)
        sizes = [int(n) for n in c["sizes"]]
        if -1 in sizes:
            sizes[sizes.index(-1)] = own[dim] // -math.prod(sizes)
        return emit.reshape(x, [*own[:dim], *sizes, *own[dim + 1 :]], allow_zero=True)
    return emit.reshape(x, [int(n) for n in c.get("size", c.get("shape"))], allow_zero=True)


@aten("flatten")
def _flatten(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    own = emit.foreign(x)
    a, b = int(c["start_dim"]) % len(own), int(c["end_dim"]) % len(own)
    return emit.reshape(x, [*own[:a], math.prod(own[a : b + 1]), *own[b + 1 :]], allow_zero=True)


@aten("permute")
def _permute(emit: Emit, c: Call) -> Value:
    return emit.transpose(_value(c["self"]), [int(d) for d in c["dims"]])


@aten("transpose", "swapaxes", "t", "numpy_T")
def _transpose(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    rank = len(emit.foreign(x))
    order = list(range(rank))
    a, b = int(c.get("dim0", c.get("axis0", 0))) % rank, int(c.get("dim1", c.get("axis1", -1))) % rank
    order[a], order[b] = order[b], order[a]
    return emit.transpose(x, order)


@aten("squeeze")
def _squeeze(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    own = emit.foreign(x)
    axes = c.get("dim")
    axes = [axes] if isinstance(axes, int) else axes
    axes = [a for a in (range(len(own)) if axes is None else axes) if own[a] == 1]
    return emit.squeeze(x, axes) if axes else x


@aten("unsqueeze")
def _unsqueeze(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    if isinstance(x, np.ndarray) and "self" in c.names:
        x = np.asarray(x)
    return emit.unsqueeze(x, [int(c["dim"])])


@aten("expand", "expand_as", "broadcast_to")
def _expand(emit: Emit, c: Call) -> Value:
    x = _parameter(emit, c, "self")
    target = emit.foreign(_value(c["other"])) if c.op == "expand_as" else [int(n) for n in c["size"]]
    if isinstance(x, Data) and x.batch is None:  # a parameter: it broadcasts to the batch by itself
        own = [1] * (len(target) - len(x.shape)) + list(x.shape)
        if target and target[0] == emit.many and own[0] == 1:
            sizes = [a if n == -1 else int(n) for a, n in zip(own[1:], target[1:])]
            y = emit._as(x, own[1:], None)
            if sizes != own[1:]:
                y = emit.add("expand", [y], y, suffix="repeat", shape=sizes)
            return Data(y.name, y.shape, 0)
    return emit.expand(x, target)


@aten("repeat")
def _repeat(emit: Emit, c: Call) -> Value:
    x, repeats = _value(c["self"]), [int(n) for n in c["repeats"]]
    own = emit.foreign(x)
    if len(repeats) > len(own):
        x = emit.unsqueeze(x, list(range(len(repeats) - len(own))))
    for axis, n in enumerate(repeats):
        if n == emit.many and emit.foreign(x)[axis] == 1:
            x = emit.expand(x, [n if a == axis else -1 for a in range(len(repeats))])
        elif n != 1:
            x = emit.concat([x] * n, axis)
    return x


def _parameter(emit: Emit, c: Call, key: str) -> Value:
    v = _value(c[key])
    if isinstance(v, np.ndarray) and key in c.names and v.dtype.kind == "f":
        return emit.constant(v, trained=True, key=c.names[key])
    return v


@aten("cat", "concat")
def _cat(emit: Emit, c: Call) -> Value:
    return emit.concat([_value(v) for v in c["tensors"]], int(c["dim"]))


@aten("stack")
def _stack(emit: Emit, c: Call) -> Value:
    return emit.concat([emit.unsqueeze(_value(v), [int(c["dim"])]) for v in c["tensors"]], int(c["dim"]))


@aten("slice")
def _slice(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    start = 0 if c.get("start") is None else int(c["start"])
    stop = 2**62 if c.get("end") is None else int(c["end"])
    return emit.slice(x, int(c["dim"]), start, stop, int(c.get("step", 1)))


@aten("narrow")
def _narrow(emit: Emit, c: Call) -> Value:
    start = int(c["start"])
    return emit.slice(_value(c["self"]), int(c["dim"]), start, start + int(c["length"]))


@aten("select")
def _select(emit: Emit, c: Call) -> Value:
    return emit.gather(_value(c["self"]), int(c["dim"]), np.array(int(c["index"])))


@aten("index_select")
def _index_select(emit: Emit, c: Call) -> Value:
    return emit.gather(_value(c["self"]), int(c["dim"]), emit.fixed(_value(c["index"]), "places"))


@aten("index")
def _index(emit: Emit, c: Call) -> Value:
    x = _parameter(emit, c, "self")
    places = [None if i is None else emit.fixed(_value(i), "places") for i in c["indices"]]
    used = [a for a, i in enumerate(places) if i is not None]
    if isinstance(x, np.ndarray):
        return x[tuple(slice(None) if i is None else i for i in places)]
    if len(used) != 1:
        raise Unsupported("is indexed along several axes at once")
    at = np.asarray(places[used[0]])
    if at.dtype == bool:
        at = np.flatnonzero(at)
    return emit.gather(x, used[0], at)


@aten("embedding")
def _embedding(emit: Emit, c: Call) -> Value:
    return emit.gather(_parameter(emit, c, "weight"), 0, emit.fixed(_value(c["indices"]), "places"))


def _pieces(emit: Emit, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    ends = np.cumsum(sizes)
    return [emit.slice(x, axis, int(e - n), int(e)) for e, n in zip(ends, sizes)]


@aten("split_with_sizes", "split", "chunk")
def _split(emit: Emit, c: Call) -> list[Value]:
    x, axis = _value(c["self"]), int(c["dim"])
    n = emit.foreign(x)[axis]
    given = c.get("split_sizes", c.get("split_size"))
    if isinstance(given, int) or c.op == "chunk":
        each = given if c.op != "chunk" else -(-n // int(c["chunks"]))
        given = [min(each, n - i) for i in range(0, n, each)]
    return _pieces(emit, x, axis, [int(g) for g in given])


@aten("unbind")
def _unbind(emit: Emit, c: Call) -> list[Value]:
    x, axis = _value(c["self"]), int(c["dim"])
    return [emit.gather(x, axis, np.array(i)) for i in range(emit.foreign(x)[axis])]


@aten("getitem")
def _getitem(emit: Emit, c: Call) -> Any:
    found = c["0"][c["1"]]
    return Missing("places of maxima, or last cells") if found is None else found


@aten("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def _pad(emit: Emit, c: Call) -> Value:
    x, pads = _value(c["self"]), [int(p) for p in c.get("pad", c.get("padding"))]
    rank = len(emit.foreign(x))
    before, after = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    mode = c.get("mode", "reflect" if "reflection" in c.op else "replicate" if "replication" in c.op else "constant")
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    return emit.pad(x, before, after, mode, float(c.get("value") or 0.0))


@aten("roll")
def _roll(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    for shift, axis in zip(_pair(c["shifts"], 1), _pair(c["dims"], 1)):
        n = emit.foreign(x)[axis]
        cut = (n - int(shift)) % n
        if cut:
            x = emit.concat([emit.slice(x, axis, cut, n), emit.slice(x, axis, 0, cut)], axis)
    return x


@aten("flip")
def _flip(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    for axis in _pair(c["dims"], 1):
        n = emit.foreign(x)[axis]
        x = emit.slice(x, axis, n - 1, -n - 1, -1)
    return x


@aten("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
def _shuffle(emit: Emit, c: Call) -> Value:
    x = _value(c["self"])
    b, ch, h, w = emit.foreign(x)
    if c.op == "channel_shuffle":
        g = int(c["groups"])
        y = emit.transpose(emit.reshape(x, [b, g, ch // g, h, w]), [0, 2, 1, 3, 4])
        return emit.reshape(y, [b, ch, h, w])
    n = int(c.get("upscale_factor", c.get("downscale_factor")))
    if c.op == "pixel_shuffle":
        y = emit.transpose(emit.reshape(x, [b, ch // (n * n), n, n, h, w]), [0, 1, 4, 2, 5, 3])
        return emit.reshape(y, [b, ch // (n * n), h * n, w * n])
    y = emit.transpose(emit.reshape(x, [b, ch, h // n, n, w // n, n]), [0, 1, 3, 5, 2, 4])
    return emit.reshape(y, [b, ch * n * n, h // n, w // n])


@aten("slice_scatter")
def _slice_scatter(emit: Emit, c: Call) -> Value:
    """All of a tensor replaced by another one (a slice of everything)."""
    x, source = _value(c["self"]), _value(c["src"])
    if emit.foreign(x) != emit.foreign(source):
        raise Unsupported("writes into a part of a tensor")
    return source


def _resize(emit: Emit, c: Call, mode: str, transform: str) -> Value:
    x = emit.batched(c.get("input", c.get("self")))
    scales = c.get("scale_factors")
    sizes = c.get("output_size")
    n = len(x.shape) - 1
    for i in range(n):
        size = x.shape[1 + i]
        out = int(sizes[i]) if sizes is not None else math.floor(size * float(scales[i]))
        scale = float(scales[i]) if scales is not None else out / size
        if out == size:
            continue
        columns, weights = interpolation(size, out, scale, mode, transform, "floor")
        x = emit.data(emit.resample(x, 2 + i, columns, weights, "resize"))
    return x


@aten("upsample_nearest1d", "upsample_nearest2d")
def _nearest(emit: Emit, c: Call) -> Value:
    return _resize(emit, c, "nearest", "asymmetric")


@aten("upsample_bilinear2d", "upsample_linear1d")
def _bilinear(emit: Emit, c: Call) -> Value:
    return _resize(emit, c, "linear", "align_corners" if c["align_corners"] else "half_pixel")


# ---- constants -------------------------------------------------------------------------------------------------------
@aten("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "empty")
def _filled(emit: Emit, c: Call) -> Value:
    shape = emit.foreign(_value(c["self"])) if c.op.endswith("like") else [int(n) for n in c["size"]]
    value = 1.0 if "ones" in c.op else float(c["fill_value"]) if "full" in c.op else 0.0
    return np.broadcast_to(np.float32(value), shape)


@aten("arange")
def _arange(emit: Emit, c: Call) -> Value:
    return np.arange(c.get("start", 0) or 0, c["end"], c.get("step", 1) or 1)


@aten("scalar_tensor")
def _scalar_tensor(emit: Emit, c: Call) -> Value:
    return np.array(c["s"], np.float32)


@aten("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")
def _nothing(emit: Emit, c: Call) -> None:
    return None


# ---- sequences -------------------------------------------------------------------------------------------------------
@aten("lstm", "gru", "rnn_tanh")
def _recurrent(emit: Emit, c: Call) -> list[Any]:
    kind = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn"}[c.op]
    if "params" not in c.arguments or "batch_sizes" in c.arguments:
        raise Unsupported("works on packed sequences")
    x, parameters = emit.data(c["input"]), [emit.fixed(p, "weights") for p in c["params"]]
    states = c["hx"] if isinstance(c["hx"], list) else [c["hx"]]
    if any(not isinstance(s, np.ndarray) or np.any(s.ravel()[:1]) or np.any(s) for s in states):
        raise Unsupported("starts from a state that is not zero")
    if c.get("train") and c.get("dropout"):
        raise Unsupported("drops values between its layers")
    batch = 0 if c["batch_first"] else 1
    if x.batch != batch:
        raise Unsupported("mixes the samples of a batch")
    sequence = emit._as(x, x.shape, 0)
    directions, per = 1 + bool(c["bidirectional"]), 4 if c["has_biases"] else 2
    lasts = []
    for layer in range(int(c["num_layers"])):
        outputs = []
        for d in range(directions):
            first = (layer * directions + d) * per
            w, r = parameters[first : first + 2]
            zero = np.zeros(len(w), np.float32)
            bi, br = parameters[first + 2 : first + 4] if c["has_biases"] else (zero, zero)
            more = {"reset_after": True} if kind == "gru" else {}
            y = emit.recurrent(kind, sequence, w, r, bi, br, reverse=d == 1, **more)
            outputs.append(y)
            lasts.append((y, 0 if d == 1 else y.shape[0] - 1))
        sequence = emit.data(emit.concat(outputs, 2)) if directions > 1 else outputs[0]
    out = sequence if batch == 0 else emit.transpose(sequence, [1, 0, 2])
    last = [emit.transpose(emit.slice(y, 1, t, t + 1), [1, 0, 2]) for y, t in lasts]
    return [out, emit.concat(last, 0) if len(last) > 1 else last[0], None]
