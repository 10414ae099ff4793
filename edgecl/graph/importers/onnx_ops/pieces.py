"""Tensors put together, taken apart, padded, resampled and converted, of ONNX."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Data, Mixes, Unsupported, Value
from ..onnx_forms import Form, Sampling, interpolation
from .registry import onnx


@onnx("Concat")
def _concat(emit: Emit, form: Form) -> Value:
    values = [v for v in form.inputs if v is not None]
    return values[0] if len(values) == 1 else emit.concat(values, int(form.attribute("axis", 1)))


@onnx("Split")
def _split(emit: Emit, form: Form) -> tuple[Value, ...]:
    x, axis = form.input(0), int(form.attribute("axis", 0))
    size, count = emit.foreign(x)[axis], len(form.outputs)
    sizes = form.numbers(emit, 1, "split")
    if sizes is None:
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    if sum(sizes) != size:
        raise Unsupported(f"splits {size} into {sizes}")
    ends = np.cumsum(sizes)
    return tuple(emit.slice(x, axis, int(e - n), int(e)) for e, n in zip(ends, sizes))


@onnx("Slice")
def _slice(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    starts, ends = form.numbers(emit, 1, "starts"), form.numbers(emit, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("has no bounds")
    axes = form.numbers(emit, 3, "axes") or list(range(len(starts)))
    steps = form.numbers(emit, 4, "steps") or [1] * len(starts)
    for axis, a, b, s in zip(axes, starts, ends, steps):
        x = emit.slice(x, axis, a, b, s)
    return x


@onnx("Gather")
def _gather(emit: Emit, form: Form) -> Value:
    return emit.gather(form.input(0), int(form.attribute("axis", 0)), form.array(emit, 1, "indices"))


@onnx("GatherND")
def _gather_nd(emit: Emit, form: Form) -> Value:
    x, at = emit.fixed(form.input(0), "table"), form.array(emit, 1, "indices")
    if form.attribute("batch_dims", 0):
        raise Unsupported("gathers by batches (batch_dims)")
    return x[tuple(np.moveaxis(at, -1, 0))]


@onnx("Pad")
def _pad(emit: Emit, form: Form) -> Value:
    x, pads = form.input(0), form.numbers(emit, 1, "pads") or [int(p) for p in form.attribute("paddings", [])]
    rank = len(emit.foreign(x))
    axes = form.numbers(emit, 3, "axes") or list(range(rank))
    value = form.number(emit, 2, "value", 0.0)
    before, after = [0] * rank, [0] * rank
    for i, a in enumerate(axes):
        before[a], after[a] = pads[i], pads[i + len(axes)]
    mode = form.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"pads by '{mode}'")
    return emit.pad(x, before, after, mode, value)


@onnx("DepthToSpace", "SpaceToDepth")
def _depth(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    b, c, h, w = emit.foreign(x)
    n = int(form.attribute("blocksize"))
    if form.op == "SpaceToDepth":
        y = emit.reshape(x, [b, c, h // n, n, w // n, n])
        order = [0, 1, 3, 5, 2, 4] if form.attribute("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
        return emit.reshape(emit.transpose(y, order), [b, c * n * n, h // n, w // n])
    if form.attribute("mode", "DCR") == "DCR":
        y = emit.transpose(emit.reshape(x, [b, n, n, c // (n * n), h, w]), [0, 3, 4, 1, 5, 2])
    else:
        y = emit.transpose(emit.reshape(x, [b, c // (n * n), n, n, h, w]), [0, 1, 4, 2, 5, 3])
    return emit.reshape(y, [b, c // (n * n), h * n, w * n])


@onnx("Resize", "Upsample")
def _resize(emit: Emit, form: Form) -> Value:
    x, old = form.input(0), form.op == "Upsample" or form.opset < 11
    own = emit.foreign(x)
    mode = form.attribute("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        raise Unsupported(f"interpolates by '{mode}'")
    if form.attribute("antialias", 0):
        raise Unsupported("smooths before it shrinks (antialias)")
    scales = form.get(1 if old else 2)
    scales = form.attribute("scales") if scales is None else np.ravel(emit.fixed(scales, "scales"))
    sizes = None if old or form.get(3) is None else [int(n) for n in form.array(emit, 3, "sizes")]
    axes = [a % len(own) for a in form.attribute("axes", range(len(own)))]
    transform = "asymmetric" if old else form.attribute("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else form.attribute("nearest_mode", "round_prefer_floor")
    roi = form.get(1) if transform == "tf_crop_and_resize" else None
    bounds = np.ravel(emit.fixed(roi, "region")) if roi is not None else None
    if sizes is not None:
        policy = form.attribute("keep_aspect_ratio_policy", "stretch")
        ratio = [n / own[a] for n, a in zip(sizes, axes)]
        if policy != "stretch":
            one = (min if policy == "not_larger" else max)(ratio)
            ratio = [one] * len(axes)
            sizes = [int(np.floor(one * own[a] + 0.5)) for a in axes]
        scales = np.array(ratio)
    if scales is None or len(scales) != len(axes):
        raise Unsupported("has neither scales nor sizes that are constant")
    outside = float(form.attribute("extrapolation_value", 0.0))
    for i, a in enumerate(axes):
        n = own[a]
        out = sizes[i] if sizes is not None else int(np.floor(n * float(scales[i])))
        start, end = (0.0, 1.0) if bounds is None else (float(bounds[i]), float(bounds[i + len(axes)]))
        if out == n and float(scales[i]) == 1 and (start, end) == (0.0, 1.0):
            continue
        if isinstance(x, Data) and a == x.batch and not x.merged:
            raise Mixes
        crop = transform == "tf_crop_and_resize"
        how = Sampling(
            "nearest" if mode == "nearest" else "linear", transform, nearest, start, end,
            bool(form.attribute("exclude_outside", 0)),
        )  # fmt: skip
        columns, weights = interpolation(n, out, float(scales[i]), how)
        if crop and outside and any(not c for c in columns):
            raise Unsupported("fills places outside its region with a value")
        x = emit.resample(x, a, columns, weights, "resize")
    return x


@onnx("Trilu")
def _trilu(emit: Emit, form: Form) -> Value:
    x, k = form.input(0), 0 if form.get(1) is None else int(np.ravel(form.array(emit, 1, "diagonal"))[0])
    rows, columns = emit.foreign(x)[-2:]
    mask = (np.triu if form.attribute("upper", 1) else np.tril)(np.ones((rows, columns), np.float32), k)
    if isinstance(x, np.ndarray):
        return np.where(mask != 0, x, 0).astype(x.dtype)
    return emit.arithmetic("mul", [x, mask], None)


@onnx("Cast", "CastLike")
def _cast(emit: Emit, form: Form) -> Value:
    x = form.input(0)
    if form.op == "CastLike":
        other = form.input(1)
        kind = np.dtype(np.float32) if isinstance(other, Data) else other.dtype
    else:
        kind = form.attribute("to")
    if isinstance(x, np.ndarray):
        return x.astype(kind)
    if np.dtype(kind).kind in "fb":
        return x
    raise Unsupported(f"casts the network's data to {np.dtype(kind).name}")


@onnx("Dropout")
def _dropout(emit: Emit, form: Form) -> Value | tuple[Value, ...]:
    ratio = form.number(emit, 1, "ratio", 0.5)
    training = form.get(2) is not None and bool(np.ravel(form.array(emit, 2, "training_mode"))[0])
    if training and ratio > 0:
        raise Unsupported("drops values at random (training_mode)")
    if len([o for o in form.outputs if o]) > 1:
        return form.input(0), np.ones(emit.foreign(form.input(0)), bool)
    return form.input(0)


@onnx("CumSum")
def _cumsum(emit: Emit, form: Form) -> Value:
    x, axis = emit.data(form.input(0)), int(np.ravel(form.array(emit, 1, "axis"))[0])
    n, exclusive, reverse = x.shape[x.own(axis)], form.attribute("exclusive", 0), form.attribute("reverse", 0)
    if reverse:
        columns = [list(range(i + bool(exclusive), n)) for i in range(n)]
    else:
        columns = [list(range(0, i + 1 - bool(exclusive))) for i in range(n)]
    return emit.resample(x, axis, columns, [[1.0] * len(c) for c in columns])
