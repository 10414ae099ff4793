"""Attention of ONNX's opset 23 and later."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Data, Unsupported, Value
from ..onnx_forms import Form
from .registry import onnx

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
