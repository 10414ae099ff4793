"""Convolutions and products with weights, of torch."""

from __future__ import annotations

import numpy as np

from ..emit import Emit, Window
from ..foreign import Value
from .registry import Call, as_pair, as_value, aten, weight_names, weight_values


@aten("linear")
def _linear(emit: Emit, c: Call) -> Value:
    weight, bias = weight_values(c, emit, "weight", "bias")
    return emit.linear(emit.data(c["input"]), weight, bias, weight_names(c))


@aten("addmm")
def _addmm(emit: Emit, c: Call) -> Value:
    bias, b = weight_values(c, emit, "self", "mat2")
    return emit.linear(emit.data(c["mat1"]), np.ascontiguousarray(b.T), bias)


@aten("matmul", "mm", "bmm")
def _matmul(emit: Emit, c: Call) -> Value:
    key = next(k for k in ("other", "mat2") if k in c.arguments)
    a, b = as_value(c["self"]), as_value(c[key])
    if isinstance(a, np.ndarray) and "self" in c.names:
        a = emit.constant(a, trained=True, key=c.names["self"])
    if isinstance(b, np.ndarray) and key in c.names and b.ndim != 2:
        b = emit.constant(b, trained=True, key=c.names[key])
    return emit.matmul(a, b, keys=c.names.get(key, ""))


@aten("conv1d", "conv2d", "conv3d")
def _conv(emit: Emit, c: Call) -> Value:
    weight, bias = weight_values(c, emit, "weight", "bias")
    n = weight.ndim - 2
    stride, dilation = as_pair(c["stride"], n), as_pair(c["dilation"], n)
    padding = c["padding"]
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation)]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = ([0] * n if padding == "valid" else as_pair(padding, n)) * 2
    return emit.conv(c["input"], weight, bias, Window(stride, pads, dilation), int(c["groups"]), keys=weight_names(c))


@aten("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(emit: Emit, c: Call) -> Value:
    weight, bias = weight_values(c, emit, "weight", "bias")
    n = weight.ndim - 2
    window = Window(
        as_pair(c["stride"], n),
        as_pair(c["padding"], n) * 2,
        as_pair(c["dilation"], n),
        as_pair(c["output_padding"], n),
    )
    return emit.conv_transpose(c["input"], weight, bias, window, int(c["groups"]), keys=weight_names(c))
