"""Convolutions and products with weights, of ONNX."""

from __future__ import annotations

import numpy as np

from ..emit import Emit, Window
from ..foreign import LARGEST, Data, Unsupported, Value
from ..onnx_forms import Form, window_pads
from .elementwise import UNARY
from .registry import onnx


def _keys(form: Form, weight: int, bias: int) -> dict[str, str]:
    names = dict(enumerate(form.names))
    return {k: names[i] for k, i in (("weight", weight), ("bias", bias)) if names.get(i)}


def spatial(emit: Emit, x: Value) -> list[int]:
    return emit.foreign(x)[2:]


@onnx("Conv", "FusedConv")
def _conv(emit: Emit, form: Form) -> Value:
    x, w = form.input(0), form.array(emit, 1, "weights")
    d = w.ndim - 2
    bias = None if form.get(2) is None else form.array(emit, 2, "bias")
    stride = list(form.attribute("strides", [1] * d))
    dilation = list(form.attribute("dilations", [1] * d))
    kernel = list(form.attribute("kernel_shape", w.shape[2:]))
    padding = window_pads(form, spatial(emit, x), kernel, stride, dilation)
    y = emit.conv(
        x, w, bias, Window(stride, padding, dilation), int(form.attribute("group", 1)), keys=_keys(form, 1, 2)
    )
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
    sizes, kernel = spatial(emit, x), list(w.shape[2:])
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
        x, w, bias, Window(stride, pads, dilation, more), int(form.attribute("group", 1)), keys=_keys(form, 1, 2)
    )


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
