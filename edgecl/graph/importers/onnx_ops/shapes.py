"""Shapes as values and tensors in another shape, of ONNX."""

from __future__ import annotations

import math

import numpy as np

from ..emit import Emit
from ..foreign import Unsupported, Value
from ..onnx_forms import Form
from .registry import onnx


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
