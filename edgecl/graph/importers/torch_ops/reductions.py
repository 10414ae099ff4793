"""Reductions and pools of torch."""

from __future__ import annotations

import math
from typing import Any

from ..emit import Emit
from ..foreign import Unsupported, Value
from .registry import Call, as_pair, as_value, aten


@aten("mean", "sum", "amax", "amin", "prod", "logsumexp")
def _reduce(emit: Emit, c: Call) -> Value:
    op = {
        "mean": "reduce_mean", "sum": "reduce_sum", "amax": "reduce_max", "amin": "reduce_min", "prod": "reduce_prod",
        "logsumexp": "log_sum_exp",
    }[c.op]  # fmt: skip
    axes = c.get("dim")
    axes = [axes] if isinstance(axes, int) else axes
    return emit.reduce(op, as_value(c["self"]), axes, bool(c.get("keepdim", False)))


@aten("max", "min")
def _extreme(emit: Emit, c: Call) -> Any:
    op = f"reduce_{c.op}"
    if c.get("other") is not None:
        return emit.arithmetic(f"{c.op}imum", [as_value(c["self"]), as_value(c["other"])], None)
    if c.get("dim") is None:
        raise Unsupported("mixes the samples of a batch")
    return [emit.reduce(op, as_value(c["self"]), [int(c["dim"])], bool(c["keepdim"])), None]


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
    sizes = as_pair(c["output_size"], len(x.shape) - 1)
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
    kernel = as_pair(c["kernel_size"], next(int(n) for n in "123" if f"{n}d" in c.op))
    n = len(kernel)
    stride = as_pair(c["stride"], n) if c["stride"] else kernel
    pads = as_pair(c["padding"], n) * 2
    if c.op.startswith("max"):
        y = emit.pool("max_pool", c["self"], kernel, stride, pads, as_pair(c["dilation"], n), ceil=bool(c["ceil_mode"]))
        return [y, None] if "indices" in c.op else y
    if c.get("divisor_override") is not None:
        raise Unsupported("divides by a number of its own (divisor_override)")
    return emit.pool("avg_pool", c["self"], kernel, stride, pads, ceil=bool(c["ceil_mode"]),
                     count_include_pad=bool(c["count_include_pad"]))  # fmt: skip
