"""Normalisations, softmax and attention of torch."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Unsupported, Value
from .registry import Call, as_value, aten, weight_values


@aten("batch_norm")
def _batch_norm(emit: Emit, c: Call) -> Value:
    scale, shift, mean, var = weight_values(c, emit, "weight", "bias", "running_mean", "running_var")
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
    scale, shift = weight_values(c, emit, "weight", "bias")
    x = emit.batched(c["input"])
    ones = np.ones(x.shape[0], np.float32)
    return emit.group_norm(
        x, int(c["num_groups"]), ones if scale is None else scale, ones * 0 if shift is None else shift, c["eps"]
    )


@aten("instance_norm")
def _instance_norm(emit: Emit, c: Call) -> Value:
    if not c["use_input_stats"]:
        raise Unsupported("normalises by running statistics (track_running_stats)")
    scale, shift = weight_values(c, emit, "weight", "bias")
    x = emit.batched(c["input"])
    ones = np.ones(x.shape[0], np.float32)
    return emit.group_norm(
        x, x.shape[0], ones if scale is None else scale, ones * 0 if shift is None else shift, c["eps"]
    )


@aten("layer_norm", "rms_norm")
def _layer_norm(emit: Emit, c: Call) -> Value:
    n = len(c["normalized_shape"])
    scale, shift = weight_values(c, emit, "weight", "bias")
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
        scores = emit.arithmetic("add", [scores, as_value(mask)], None)
    if c.get("is_causal"):
        causal = np.where(np.tril(np.ones((t, s), bool)), 0, -1e30).astype(np.float32)
        scores = emit.arithmetic("add", [scores, causal], None)
    return emit.matmul(emit.along("softmax", scores, -1), v)
