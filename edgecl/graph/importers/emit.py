"""What both importers build a graph with: foreign tensors, whose batch is an axis like any other, become ours.

Operations on constants alone are folded by numpy and reach no graph. Whatever would mix the samples of a batch is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import Arithmetic
from .foreign import Array, Data, Unsupported, Value


@dataclass(frozen=True)
class Window:
    """How a kernel moves over a map. ``padding``: begins, then ends, of each dimension; ``more``: rows and columns that
    a transposed convolution makes at the ends.
    """

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    more: Sequence[int] = ()


class Emit(Arithmetic):
    """Convolutions, pools, norms and recurrent layers, on top of what it inherits."""

    def as_map(self, x: Value, dimensions: int) -> tuple[Data, bool]:
        """[B, C, H, W], or [B, C, L] as a map of height 1 (then true)."""
        x = self.batched(x)
        if len(x.shape) != dimensions + 1 or dimensions not in (1, 2):
            raise Unsupported(f"is of {dimensions} dimensions on samples of {len(x.shape) - 1}")
        return (self._as(x, [x.shape[0], 1, x.shape[1]], 0), True) if dimensions == 1 else (x, False)

    def from_map(self, x: Data, flat: bool) -> Data:
        return self._as(x, [x.shape[0], x.shape[2]], 0) if flat else x

    def conv(self, x: Value, weight: Array, bias: Array | None, window: Window, groups: int, keys=None) -> Data:
        d = weight.ndim - 2
        if d == 3:
            return self._conv_volume(x, weight, bias, window, groups)
        stride, padding, dilation = window.stride, window.padding, window.dilation
        m, flat = self.as_map(x, d)
        if flat:
            weight = weight[:, :, None]
            stride, dilation, padding = [1, *stride], [1, *dilation], [0, padding[0], 0, padding[1]]
        params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        out = self.add(
            "conv2d", [m], m, params=params, keys=keys, out=weight.shape[0], kernel=list(weight.shape[2:]),
            stride=list(stride), groups=groups, bias=bias is not None, prunable=True, **_window(padding, dilation),
        )  # fmt: skip
        return self.from_map(out, flat)

    def _conv_volume(self, x: Value, weight: Array, bias: Array | None, window: Window, groups: int) -> Data:
        """Three dimensions: a sum over the kernel's depth of flat convolutions on all slices, one below another."""
        stride, padding, dilation = window.stride, window.padding, window.dilation
        x = self.batched(x)
        if len(x.shape) != 4:
            raise Unsupported(f"is of 3 dimensions on samples of {len(x.shape) - 1}")
        extents = [(k - 1) * e + 1 for k, e in zip(weight.shape[2:], dilation)]
        sizes = [n + a + b for n, a, b in zip(x.shape[1:], padding[:3], padding[3:])]
        out = [(n - e) // s + 1 for n, e, s in zip(sizes, extents, stride)]
        if min(out) < 1:
            raise Unsupported("has a kernel larger than its padded input")
        more = -sizes[1] % stride[1]  # so that every slice begins on an output row
        p = self.data(self.pad(x, [0, 0, padding[0], padding[1], 0], [0, 0, padding[3], padding[4] + more, 0]))
        rows = sizes[1] + more
        total: Data | None = None
        for k in range(weight.shape[2]):
            first = k * dilation[0]
            taken = self.slice(p, 2, first, first + (out[0] - 1) * stride[0] + 1, stride[0])
            flat = self.reshape(taken, [self.many, x.shape[0], out[0] * rows, x.shape[3]])
            below = max(0, extents[1] - stride[1])
            sides = [0, padding[2], below, padding[5]]
            y = self.conv(
                flat, weight[:, :, k], bias if k == 0 else None, Window(stride[1:], sides, dilation[1:]), groups
            )
            y = self.data(self.reshape(y, [self.many, weight.shape[0], out[0], rows // stride[1], out[2]]))
            y = self.data(self.slice(y, 3, 0, out[1]))
            total = y if total is None else self.data(self.arithmetic("add", [total, y], np.add))
        assert total is not None
        return total

    def conv_transpose(
        self, x: Value, weight: Array, bias: Array | None, window: Window, groups: int, keys=None
    ) -> Data:
        stride, padding, dilation, more = window.stride, window.padding, window.dilation, window.more
        m, flat = self.as_map(x, weight.ndim - 2)
        if flat:
            weight = weight[:, :, None]
            stride, dilation, more = [1, *stride], [1, *dilation], [0, *more]
            padding = [0, padding[0], 0, padding[1]]
        params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        out = self.add(
            "conv_transpose2d", [m], m, params=params, keys=keys, out=weight.shape[1] * groups,
            kernel=list(weight.shape[2:]), stride=list(stride), padding=list(padding), groups=groups,
            output_padding=list(more), dilation=list(dilation), bias=bias is not None, prunable=True,
        )  # fmt: skip
        return self.from_map(out, flat)

    def pool(self, op: str, x: Value, kernel, stride, padding, dilation=None, **attributes: Any) -> Data:
        if len(kernel) == 3:
            return self._pool_volume(op, x, kernel, stride, padding, dilation or [1, 1, 1], attributes)
        m, flat = self.as_map(x, len(kernel))
        if flat:
            kernel, stride, padding = [1, *kernel], [1, *stride], [0, padding[0], 0, padding[1]]
            dilation = [1, *dilation] if dilation else None
        out = self.add(
            op, [m], m, kernel=list(kernel), stride=list(stride), **_window(padding, dilation or [1, 1]), **attributes
        )
        return self.from_map(out, flat)

    def _pool_volume(self, op: str, x: Value, kernel, stride, padding, dilation, attributes) -> Data:
        """Three dimensions: first along the depth, then each slice."""
        x = self.batched(x)
        if len(x.shape) != 4:
            raise Unsupported(f"is of 3 dimensions on samples of {len(x.shape) - 1}")
        c, d, h, w = x.shape
        flat = self.reshape(x, [self.many, c, d, h * w])
        y = self.pool(
            op, flat, [kernel[0], 1], [stride[0], 1], [padding[0], 0, padding[3], 0], [dilation[0], 1], **attributes
        )
        depth = y.shape[1]
        y = self.data(self.reshape(y, [self.many, c * depth, h, w]))
        sides = [padding[1], padding[2], padding[4], padding[5]]
        y = self.pool(op, y, kernel[1:], stride[1:], sides, dilation[1:], **attributes)
        return self.data(self.reshape(y, [self.many, c, depth, *y.shape[1:]]))

    def batch_norm(self, x: Value, scale, shift, mean, var, eps: float, momentum: float) -> Data:
        x = self.batched(x)
        return self.add(
            "batch_norm", [x], x, eps=float(eps), momentum=float(momentum),
            params={"scale": scale, "shift": shift, "running_mean": mean, "running_var": var},
        )  # fmt: skip

    def group_norm(self, x: Value, groups: int, scale, shift, eps: float) -> Data:
        x = self.batched(x)
        return self.add("group_norm", [x], x, groups=groups, eps=float(eps), params={"scale": scale, "shift": shift})

    def layer_norm(self, x: Value, axes: Sequence[int], scale, shift, eps: float, rms: bool = False) -> Data:
        x = self.data(x)
        own = [x.own(a) for a in axes]
        shape = [x.shape[a] for a in sorted(own)]
        ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        scale = ones if scale is None else np.broadcast_to(np.asarray(scale).reshape(_fit(scale, shape)), shape)
        params = {"scale": scale}
        if not rms:
            params["shift"] = (
                zeros if shift is None else np.broadcast_to(np.asarray(shift).reshape(_fit(shift, shape)), shape)
            )
        return self.add("rms_norm" if rms else "layer_norm", [x], x, params=params, axes=own, eps=float(eps))

    def recurrent(
        self, kind: str, x: Data, w: Array, r: Array, input_bias: Array, bias: Array, *, reverse: bool, keys=None,
        **attributes: Any,
    ) -> Data:  # fmt: skip
        """``x`` a sequence with sample shape (T, F); weights in torch's order of gates."""
        gates = self.linear(x, w, input_bias, keys)
        return self.add(
            kind, [gates], gates, suffix="state", params={"weight": r, "bias": bias}, hidden=r.shape[1],
            reverse=reverse,
            prunable=True, **attributes,
        )  # fmt: skip


def _window(padding: Sequence[int], dilation: Sequence[int]) -> dict[str, Any]:
    """Padding in its shortest form, and a dilation where there is one."""
    p = [int(n) for n in padding]
    out: dict[str, Any] = {"padding": p[:2] if p[:2] == p[2:] else p}
    if list(dilation) != [1, 1]:
        out["dilation"] = [int(n) for n in dilation]
    return out


def _fit(value: Any, shape: Sequence[int]) -> list[int]:
    """A parameter's shape with axes of size 1 in front, to broadcast."""
    own = list(np.shape(value))
    return [1] * (len(shape) - len(own)) + own[len(own) - len(shape) if len(own) > len(shape) else 0 :]
