"""ONNX nodes in one normal form: whatever an operator's version, attributes that became inputs are read alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .emit import Emit
from .foreign import Array, Unsupported, Value


@dataclass
class Form:
    """One node. ``inputs``: its values, None where absent; ``names``: theirs in the file."""

    op: str
    inputs: list[Value | None]
    names: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any]
    opset: int

    def input(self, i: int) -> Value:
        found = self.get(i)
        if found is None:
            raise Unsupported(f"lacks its input {i}")
        return found

    def get(self, i: int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def numbers(self, emit: Emit, i: int, name: str) -> list[int] | None:
        """Integers that are an attribute in old versions and input ``i`` in new ones; None where absent."""
        value = self.get(i)
        if value is not None:
            return [int(n) for n in np.ravel(emit.fixed(value, name))]
        found = self.attribute(name)
        return None if found is None else [int(n) for n in (found if isinstance(found, (list, tuple)) else [found])]

    def number(self, emit: Emit, i: int, name: str, default: float) -> float:
        value = self.get(i)
        if value is not None:
            return float(np.ravel(emit.fixed(value, name))[0])
        return float(self.attribute(name, default))

    def array(self, emit: Emit, i: int, what: str) -> Array:
        return emit.fixed(self.input(i), what)


def window_pads(
    form: Form, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """begins, then ends: explicit, or what ``auto_pad`` asks for at these input sizes."""
    n = len(kernel)
    auto = form.attribute("auto_pad", "NOTSET")
    if auto == "VALID":
        return [0] * (2 * n)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        begins, ends = [], []
        for size, k, s, d in zip(sizes, kernel, stride, dilation):
            need = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            small, large = need // 2, need - need // 2
            begins.append(small if auto == "SAME_UPPER" else large)
            ends.append(large if auto == "SAME_UPPER" else small)
        return begins + ends
    pads = [int(p) for p in form.attribute("pads", [0] * (2 * n))]
    if len(pads) != 2 * n or min(pads) < 0:
        raise Unsupported(f"pads by {pads}")
    return pads


@dataclass(frozen=True)
class Sampling:
    """How a Resize reads one axis, in ONNX's words; ``start`` and ``end``: the region, as shares of the axis."""

    mode: str  # nearest or linear
    transform: str
    nearest: str = "floor"
    start: float = 0.0
    end: float = 1.0
    exclude: bool = False  # weights outside


def interpolation(size: int, out: int, scale: float, how: Sampling) -> tuple[list[list[int]], list[list[float]]]:
    """(columns, weights) of each output position along one axis of a Resize; empty where that lies outside a region."""
    columns: list[list[int]] = []
    weights: list[list[float]] = []
    for i in range(out):
        x = _source(i, size, out, scale, how)
        if how.transform == "tf_crop_and_resize" and not 0 <= x <= size - 1:
            columns.append([])
            weights.append([])
            continue
        if how.mode == "nearest":
            j = {
                "round_prefer_floor": np.ceil(x - 0.5), "round_prefer_ceil": np.floor(x + 0.5), "floor": np.floor(x),
                "ceil": np.ceil(x),
            }[how.nearest]  # fmt: skip
            columns.append([int(np.clip(j, 0, size - 1))])
            weights.append([1.0])
            continue
        low = int(np.floor(x))
        pairs = [(low, 1 - (x - low)), (low + 1, x - low)]
        if how.exclude:
            pairs = [(j, w) for j, w in pairs if 0 <= j < size]
            total = sum(w for _, w in pairs)
            pairs = [(j, w / total) for j, w in pairs]
        row: dict[int, float] = {}
        for j, w in pairs:
            j = min(max(j, 0), size - 1)
            row[j] = row.get(j, 0.0) + w
        row = {j: w for j, w in row.items() if w} or row
        columns.append(list(row))
        weights.append(list(row.values()))
    return columns, weights


def _source(i: int, size: int, out: int, scale: float, how: Sampling) -> float:
    """Where output position i lies on the input's axis."""
    transform, start, end = how.transform, how.start, how.end
    if transform == "align_corners":
        return 0.0 if out == 1 else i * (size - 1) / (scale * size - 1)
    if transform == "asymmetric":
        return i / scale
    if transform == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if out > 1 else 0.0
    if transform == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if transform == "half_pixel_symmetric":
        adjustment = out / (scale * size)
        return size / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5
    if transform == "tf_crop_and_resize":
        if out > 1:
            return start * (size - 1) + i * (end - start) * (size - 1) / (out - 1)
        return 0.5 * (start + end) * (size - 1)
    raise Unsupported(f"maps coordinates by '{transform}'")
