"""Normalisations and softmax of ONNX."""

from __future__ import annotations

import math

import numpy as np

from ..emit import Emit
from ..foreign import LARGEST, Unsupported, Value
from ..onnx_forms import Form
from .registry import onnx


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
