"""Tensors put together, taken apart, padded and resampled, of torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..emit import Emit
from ..foreign import Missing, Unsupported, Value
from ..onnx_forms import Sampling, interpolation
from .registry import Call, as_pair, as_value, aten
from .shapes import as_parameter


@aten("cat", "concat")
def _cat(emit: Emit, c: Call) -> Value:
    return emit.concat([as_value(v) for v in c["tensors"]], int(c["dim"]))


@aten("stack")
def _stack(emit: Emit, c: Call) -> Value:
    return emit.concat([emit.unsqueeze(as_value(v), [int(c["dim"])]) for v in c["tensors"]], int(c["dim"]))


@aten("slice")
def _slice(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    start = 0 if c.get("start") is None else int(c["start"])
    stop = 2**62 if c.get("end") is None else int(c["end"])
    return emit.slice(x, int(c["dim"]), start, stop, int(c.get("step", 1)))


@aten("narrow")
def _narrow(emit: Emit, c: Call) -> Value:
    start = int(c["start"])
    return emit.slice(as_value(c["self"]), int(c["dim"]), start, start + int(c["length"]))


@aten("select")
def _select(emit: Emit, c: Call) -> Value:
    return emit.gather(as_value(c["self"]), int(c["dim"]), np.array(int(c["index"])))


@aten("index_select")
def _index_select(emit: Emit, c: Call) -> Value:
    return emit.gather(as_value(c["self"]), int(c["dim"]), emit.fixed(as_value(c["index"]), "places"))


@aten("index")
def _index(emit: Emit, c: Call) -> Value:
    x = as_parameter(emit, c, "self")
    places = [None if i is None else emit.fixed(as_value(i), "places") for i in c["indices"]]
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
    return emit.gather(as_parameter(emit, c, "weight"), 0, emit.fixed(as_value(c["indices"]), "places"))


def _pieces(emit: Emit, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    ends = np.cumsum(sizes)
    return [emit.slice(x, axis, int(e - n), int(e)) for e, n in zip(ends, sizes)]


@aten("split_with_sizes", "split", "chunk")
def _split(emit: Emit, c: Call) -> list[Value]:
    x, axis = as_value(c["self"]), int(c["dim"])
    n = emit.foreign(x)[axis]
    given = c.get("split_sizes", c.get("split_size"))
    if isinstance(given, int) or c.op == "chunk":
        each = given if c.op != "chunk" else -(-n // int(c["chunks"]))
        given = [min(each, n - i) for i in range(0, n, each)]
    return _pieces(emit, x, axis, [int(g) for g in given])


@aten("unbind")
def _unbind(emit: Emit, c: Call) -> list[Value]:
    x, axis = as_value(c["self"]), int(c["dim"])
    return [emit.gather(x, axis, np.array(i)) for i in range(emit.foreign(x)[axis])]


@aten("getitem")
def _getitem(emit: Emit, c: Call) -> Any:
    found = c["0"][c["1"]]
    return Missing("places of maxima, or last cells") if found is None else found


@aten("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def _pad(emit: Emit, c: Call) -> Value:
    x, pads = as_value(c["self"]), [int(p) for p in c.get("pad", c.get("padding"))]
    rank = len(emit.foreign(x))
    before, after = [0] * rank, [0] * rank
    for i in range(len(pads) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = pads[2 * i], pads[2 * i + 1]
    mode = c.get("mode", "reflect" if "reflection" in c.op else "replicate" if "replication" in c.op else "constant")
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    return emit.pad(x, before, after, mode, float(c.get("value") or 0.0))


@aten("roll")
def _roll(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    for shift, axis in zip(as_pair(c["shifts"], 1), as_pair(c["dims"], 1)):
        n = emit.foreign(x)[axis]
        cut = (n - int(shift)) % n
        if cut:
            x = emit.concat([emit.slice(x, axis, cut, n), emit.slice(x, axis, 0, cut)], axis)
    return x


@aten("flip")
def _flip(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    for axis in as_pair(c["dims"], 1):
        n = emit.foreign(x)[axis]
        x = emit.slice(x, axis, n - 1, -n - 1, -1)
    return x


@aten("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
def _shuffle(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
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
    x, source = as_value(c["self"]), as_value(c["src"])
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
        columns, weights = interpolation(size, out, scale, Sampling(mode, transform))
        x = emit.data(emit.resample(x, 2 + i, columns, weights, "resize"))
    return x


@aten("upsample_nearest1d", "upsample_nearest2d")
def _nearest(emit: Emit, c: Call) -> Value:
    return _resize(emit, c, "nearest", "asymmetric")


@aten("upsample_bilinear2d", "upsample_linear1d")
def _bilinear(emit: Emit, c: Call) -> Value:
    return _resize(emit, c, "linear", "align_corners" if c["align_corners"] else "half_pixel")
