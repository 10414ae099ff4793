"""Reductions and pools of ONNX."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Data, Missing, Unsupported, Value
from ..onnx_forms import Form, window_pads
from .layers import spatial
from .registry import HANDLERS, onnx

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
    pads = window_pads(form, spatial(emit, x), kernel, stride, dilation)
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
