"""Quantised files become float again: constants are dequantised, what rounds the data between is left out."""

from __future__ import annotations

import numpy as np

from .emit import Emit
from .foreign import Array, Data, Quantised, Unsupported, Value
from .onnx_forms import Form
from .onnx_ops import onnx

RANGES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
WARNING = "The file is quantised; the network learns in float32, without the roundings between its layers."


@onnx("QuantizeLinear")
def _quantize(emit: Emit, form: Form) -> Value | Quantised:
    """Of data: the data itself, which only a DequantizeLinear may read. Where the least integer stands for zero, the
    range is an activation (quantisers leave ReLU and ReLU6 to it), so it stays as a clip.
    """
    x = form.input(0)
    kind = np.dtype(np.uint8) if form.get(2) is None else np.asarray(form.get(2)).dtype
    if kind.name not in RANGES or form.attribute("output_dtype", 0):
        raise Unsupported(f"rounds to {kind}")
    if isinstance(x, Data):
        if WARNING not in emit.warnings:
            emit.warnings.append(WARNING)
        scale, zero = (np.ravel(v) for v in _scale(emit, form, np.zeros(1, np.float32)))
        least, most = RANGES[kind.name]
        if zero[0] == least:
            x = emit.data(emit.function("clip", x, low=0.0, high=float(scale[0]) * (most - least)))
        return Quantised(f"'{form.outputs[0]}' in integers", x)
    scale, zero = _scale(emit, form, x)
    return np.clip(np.rint(x / scale) + zero, *RANGES[kind.name]).astype(kind)


@onnx("DequantizeLinear")
def _dequantize(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    if isinstance(x, Quantised):
        return x.data
    x = emit.fixed(x, "integers")
    if x.dtype.kind not in "iu":
        raise Unsupported(f"reads values of type {x.dtype}")
    scale, zero = _scale(emit, form, x)
    return ((x.astype(np.float32) - zero) * scale).astype(np.float32)


def _scale(emit: Emit, form: Form, x: Array) -> tuple[Array, Array]:
    """(scale, zero point), one for all or along one axis of ``x``."""
    scale = form.array(emit, 1, "scale").astype(np.float32)
    given = form.get(2)
    zero = np.zeros_like(scale) if given is None else emit.fixed(given, "zero point").astype(np.float32)
    if form.attribute("block_size", 0):
        raise Unsupported("scales blocks of an axis")
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(())
    axis = int(form.attribute("axis", 1))
    if scale.ndim != 1 or not -x.ndim <= axis < x.ndim or x.shape[axis] != scale.size:
        raise Unsupported(f"scales {list(x.shape)} by {list(scale.shape)}")
    shape = [1] * x.ndim
    shape[axis] = scale.size
    return scale.reshape(shape), zero.reshape(shape)
