"""What both importers build a graph with: foreign tensors, whose batch is an axis like any other, become ours.

A foreign tensor is a constant (a numpy array: weights, shapes, masks) or a `Data`: a tensor of our graph,
with the place
that its batch has among the foreign axes. Operations on constants alone are folded by numpy and reach no graph.
Whatever would mix the samples of a batch is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError
from ..builder import GraphBuilder
from ..graph import Graph, Shape

Array = np.ndarray
LARGEST = 3.4028234663852886e38  # of float32
LONGEST = 120  # characters of a foreign name that are kept, its end


class Unsupported(EdgeclError):
    """A foreign node that cannot become part of a graph; collected with its place."""

    def __init__(self, why: str) -> None:
        super().__init__(why, "")


class Mixes(Unsupported):
    """The node reads or writes along the batch."""

    def __init__(self) -> None:
        super().__init__("mixes the samples of a batch")


@dataclass(frozen=True)
class Data:
    """A tensor of the graph. ``batch``: where the batch is among the foreign axes; None: nowhere (the whole foreign
    tensor is one sample). ``merged``: that foreign axis is the batch and the sample's axis of that number in one, the
    batch being the "slow" or the "fast" part; empty: the batch alone.
    """

    name: str
    shape: Shape
    batch: int | None = 0
    merged: str = ""

    @property
    def rank(self) -> int:
        return len(self.shape) + (self.batch is not None and not self.merged)

    def own(self, axis: int) -> int:
        """The sample's axis that a foreign one is."""
        if not -self.rank <= axis < self.rank:
            raise Unsupported(f"there is no axis {axis} of {self.rank}")
        axis %= self.rank
        if self.batch is None:
            return axis
        if axis == self.batch:
            raise Mixes
        return axis if self.merged else axis - (axis > self.batch)


@dataclass(frozen=True)
class Missing:
    """An output that is not made; refused only if something reads it."""

    what: str


@dataclass(frozen=True)
class Quantised(Missing):
    """``data`` in integers, as a quantised file has it between two layers; read by what makes floats of it alone."""

    data: Data


Value = Data | Array


@dataclass
class Imported:
    """A foreign network as ours: its graph, the values of its parameters, what is worth knowing about it.

    notes : ``source``, ``warnings``, ``outputs``: a list of {name (in the file), tensor (of the graph), batch (the axis
        that the file has it at)}, and of a file its ``metadata``
    constants : outputs that do not depend on the input, by their names in the file
    """

    graph: Graph
    weights: dict[str, Array]
    notes: dict[str, Any]
    constants: dict[str, Array] = field(default_factory=dict)


class Emit:
    """Appends nodes to a graph for foreign operations. ``many``: the number that stands for the size of a batch."""

    def __init__(self, builder: GraphBuilder, many: int) -> None:
        self.g, self.many = builder, many
        self.weights: dict[str, Array] = {}
        self.warnings: list[str] = []
        self.shared: dict[tuple[str, str], tuple[str, str]] = {}
        self.place = "node"

    # ---- names and nodes
    def name(self, suffix: str = "") -> str:
        base = re.sub(r"[^A-Za-z0-9_.]+", "_", self.place.strip("/").replace("/", ".")).strip("._") or "node"
        base = base[-LONGEST:].strip("._") + (f".{suffix}" if suffix else "")
        found, i = base, 1
        while found in self.g.shapes:
            i += 1
            found = f"{base}_{i}"
        return found

    def add(
        self, op: str, inputs: Sequence[Data], like: Data, *, suffix: str = "", params: Mapping[str,
        Array] | None = None,
        keys: Mapping[str, str] | None = None, **attributes: Any,
    ) -> Data:  # fmt: skip
        """One node; its output has the batch where ``like`` has it. ``params``: values by local name, ``keys`` what
        they
        are called in the file: two nodes of one key share a parameter.
        """
        name = self.name(suffix)
        share = {}
        for local, key in (keys or {}).items():
            if params and local in params and (key, local) in self.shared:
                share[local] = self.shared[key, local][0]
        try:
            self.g.add(op, [d.name for d in inputs], name=name, share=share, **attributes)
        except EdgeclError as error:
            raise Unsupported(error.cause) from error
        for local, value in (params or {}).items():
            full = f"{name}.{local}"
            if local in share:
                continue
            value = np.asarray(value)
            if not np.isfinite(value).all():
                raise Unsupported("has weights that are not finite")
            spec = self.g.parameters[full]
            self.weights[full] = np.ascontiguousarray(value, np.float32).reshape(spec.shape)
            if keys and local in keys:
                self.shared[keys[local], local] = full, local
        return replace(like, name=name, shape=self.g.shapes[name])

    def constant(self, value: Array, trained: bool = False, key: str = "") -> Data:
        """A constant as a tensor of the graph, the same for every sample; its foreign axes are the sample's."""
        value = np.asarray(value)
        if not trained and value.dtype.kind == "f":
            value = np.clip(value, -LARGEST, LARGEST)  # masks may hold infinities
        return self.add(
            "parameter", [], Data("", (), None), suffix="value", params={"value": value},
            keys={"value": key} if key else None, shape=list(value.shape), trained=trained,
        )  # fmt: skip

    # ---- foreign shapes
    def foreign(self, x: Value) -> list[int]:
        if isinstance(x, np.ndarray):
            return list(x.shape)
        shape = list(x.shape)
        if x.batch is None:
            return shape
        if x.merged:
            shape[x.batch] *= self.many
            return shape
        return [*shape[: x.batch], self.many, *shape[x.batch :]]

    def data(self, x: Value) -> Data:
        if not isinstance(x, Data):
            raise Unsupported("works on a constant where the network's data is expected")
        return x

    def batched(self, x: Value) -> Data:
        """Data whose batch is the first foreign axis, as convolutions and norms take it."""
        x = self.data(x)
        if x.batch != 0 or x.merged:
            raise Mixes if x.batch is not None else Unsupported("needs a batch as its first axis")
        return x

    def fixed(self, x: Value, what: str) -> Array:
        if isinstance(x, Data):
            raise Unsupported(f"takes its {what} from the network's data")
        return x

    # ---- shapes
    def reshape(self, x: Value, target: Sequence[int], allow_zero: bool = False) -> Value:
        foreign = self.foreign(x)
        sizes = [foreign[i] if n == 0 and not allow_zero else int(n) for i, n in enumerate(target)]
        total = math.prod(foreign)
        if sizes.count(-1) > 1 or any(n < -1 for n in sizes):
            raise Unsupported(f"reshapes to {list(target)}")
        if -1 in sizes:
            rest = math.prod(n for n in sizes if n != -1)
            if not rest or total % rest:
                raise Unsupported(f"reshapes {foreign} to {list(target)}")
            sizes[sizes.index(-1)] = total // rest
        if math.prod(sizes) != total:
            raise Unsupported(f"reshapes {foreign} to {list(target)}")
        if isinstance(x, np.ndarray):
            return x.reshape(sizes)
        return self._reshaped(x, sizes)

    def _reshaped(self, x: Data, sizes: list[int]) -> Data:
        """The batch is where it was if as many values stand before it, alone or as the slower part of an axis."""
        if x.batch is None:
            return self._as(x, sizes, None)
        before = math.prod(x.shape[: x.batch + (x.merged == "fast")])
        for i, n in enumerate(sizes):
            stands, own = math.prod(sizes[:i]), n // self.many
            if n % self.many or before not in (stands, stands * own):
                continue
            if n == self.many:
                return self._as(x, sizes[:i] + sizes[i + 1 :], i, "")
            if self.many > 1 or all(m != 1 for m in sizes[i:]):
                return self._as(x, [*sizes[:i], own, *sizes[i + 1 :]], i, "slow" if stands == before else "fast")
        raise Mixes

    def _as(self, x: Data, shape: Sequence[int], batch: int | None, merged: str = "") -> Data:
        if tuple(shape) == x.shape:
            return replace(x, batch=batch, merged=merged)
        out = self.add("reshape", [x], x, suffix="shape", shape=[int(n) for n in shape])
        return replace(out, batch=batch, merged=merged)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        if isinstance(x, np.ndarray):
            return x.transpose(order)
        order = [a % x.rank for a in order]
        axes = order if x.merged or x.batch is None else [x.own(a) for a in order if a != x.batch]
        batch = None if x.batch is None else order.index(x.batch)
        out = x
        if axes != list(range(len(x.shape))):
            out = self.add("transpose", [x], x, suffix="order", axes=axes)
        return replace(out, batch=batch)

    def expand(self, x: Value, target: Sequence[int]) -> Value:
        """Repeated to a foreign shape; -1 keeps an axis."""
        own = self.foreign(x)
        padded = [1] * (len(target) - len(own)) + own
        sizes = [a if n == -1 else max(a, int(n)) if 1 in (a, int(n)) else int(n) for a, n in zip(padded, target)]
        if isinstance(x, np.ndarray):
            return np.broadcast_to(x, sizes)
        if sizes == own:
            return x
        grown = self.lift(x, len(sizes))
        shape = list(sizes)
        if grown.batch is not None:
            if sizes[grown.batch] != self.foreign(grown)[grown.batch]:
                raise Mixes
            if grown.merged:
                shape[grown.batch] //= self.many
            else:
                del shape[grown.batch]
        return self.add("expand", [grown], grown, suffix="repeat", shape=shape)

    def lift(self, x: Data, rank: int) -> Data:
        """Foreign axes of size 1 in front, as broadcasting puts them there."""
        more = rank - x.rank
        if not more:
            return x
        batch = None if x.batch is None else x.batch + more
        return self._as(x, [1] * more + list(x.shape), batch, x.merged)

    def slice(self, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """Python's slice along one foreign axis."""
        if isinstance(x, np.ndarray):
            at = [slice(None)] * x.ndim
            at[axis] = slice(start, stop if stop >= -x.shape[axis] or step > 0 else None, step)
            return x[tuple(at)]
        size = self.foreign(x)[axis % x.rank]
        places = range(size)[slice(start, None if step < 0 and stop < -size else stop, step)]
        if len(places) == size and step > 0:
            return x
        if not len(places):
            raise Unsupported("takes an empty slice")
        a = x.own(axis)
        n = len(x.shape)
        return self.add(
            "slice", [x], x, suffix="slice", start=[places[0] if i == a else 0 for i in range(n)],
            size=[len(places) if i == a else m for i, m in enumerate(x.shape)],
            step=[step if i == a and len(places) > 1 else 1 for i in range(n)],
        )  # fmt: skip

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        own = self.foreign(x)
        axes = [a % len(own) for a in axes]
        if isinstance(x, Data) and x.batch in axes:
            raise Mixes
        if any(own[a] != 1 for a in axes):
            raise Unsupported(f"drops an axis of {own} that is not of size 1")
        if isinstance(x, np.ndarray):
            return x.reshape([n for a, n in enumerate(own) if a not in axes])
        gone = {x.own(a) for a in axes}
        batch = None if x.batch is None else x.batch - sum(a < x.batch for a in axes)
        return self._as(x, [n for a, n in enumerate(x.shape) if a not in gone], batch, x.merged)

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        rank = len(self.foreign(x)) + len(axes)
        axes = sorted(a % rank for a in axes)
        if isinstance(x, np.ndarray):
            return np.expand_dims(x, tuple(axes))
        own, batch = list(self.foreign(x)), x.batch
        for a in axes:
            own.insert(a, 1)
            if batch is not None and a <= batch:
                batch += 1
        if batch is not None:
            own[batch] //= self.many
            if not x.merged:
                del own[batch]
        return self._as(x, own, batch, x.merged)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        if all(isinstance(v, np.ndarray) for v in values):
            return np.concatenate([np.asarray(v) for v in values], axis)
        lead = next(v for v in values if (isinstance(v, Data) and v.batch is not None) or isinstance(v, Data))
        parts = [self.aligned(v, lead) for v in values]
        if any(isinstance(v, Data) and (v.batch, v.merged) != (lead.batch, lead.merged) and v.batch is not None
               for v in values):  # fmt: skip
            raise Mixes
        return self.add("concat", parts, lead, axis=lead.own(axis))

    def aligned(self, v: Value, lead: Data) -> Data:
        """A constant of the same foreign rank as a tensor beside it, without the axis where that has its batch."""
        if isinstance(v, Data):
            return v
        v = np.asarray(v)
        if v.ndim > lead.rank:
            raise Unsupported(f"joins a constant of {v.ndim} axes with a tensor of {lead.rank}")
        v = v.reshape((1,) * (lead.rank - v.ndim) + v.shape)
        if lead.batch is not None and lead.merged and v.shape[lead.batch] != 1:
            raise Mixes
        if lead.batch is not None and not lead.merged:
            if v.shape[lead.batch] != 1:
                first = np.take(v, [0], lead.batch)
                if v.shape[lead.batch] != self.many or not (v.strides[lead.batch] == 0 or np.array_equal(
                        np.broadcast_to(first, v.shape), v)):  # fmt: skip
                    raise Mixes
                v = first
            v = np.squeeze(v, lead.batch)
        return self.constant(np.array(v, np.float32))

    # ---- arithmetic
    def arithmetic(self, op: str, values: Sequence[Value], fold, keys: Sequence[str] = ()) -> Value:
        """An elementwise operator of several values; ``fold`` computes it on constants."""
        if all(isinstance(v, np.ndarray) for v in values):
            return fold(*values)
        rank = max(v.rank if isinstance(v, Data) else v.ndim for v in values)
        real = [v for v in values if isinstance(v, Data) and v.batch is not None]
        lead = max(real or [v for v in values if isinstance(v, Data)], key=lambda d: d.rank)
        if lead.rank < rank:
            lead = self.lift(lead, rank)
        parts = []
        for v in values:
            if isinstance(v, Data):
                if v.batch is not None:
                    v = self.lift(v, rank) if v.rank < rank else v
                    if (v.batch, v.merged) != (lead.batch, lead.merged):
                        raise Mixes
                    parts.append(v)
                else:
                    parts.append(self._without_batch(v, lead))
            else:
                parts.append(self.aligned(v, lead))
        return self.add(op, parts, lead)

    def _without_batch(self, v: Data, lead: Data) -> Data:
        """A tensor without a batch beside one with: the axis where that has its batch must be of size 1."""
        if lead.batch is None:
            return v
        shape = [1] * (lead.rank - len(v.shape)) + list(v.shape)
        if shape[lead.batch] != 1:
            raise Mixes
        if not lead.merged:
            del shape[lead.batch]
        return self._as(v, shape, None)

    def function(self, op: str, x: Value, fold=None, **attributes: Any) -> Value:
        if isinstance(x, np.ndarray):
            if fold is not None:
                return fold(x)
            from ..registry import operator

            entry = operator(op)
            given = {**entry.optional_attributes, **attributes}
            return entry.forward([np.asarray(x, np.float32)[None]], {}, given, False)[0][0]
        return self.add(op, [x], x, **attributes)

    def reduce(self, op: str, x: Value, axes: Sequence[int] | None, keep: bool, **attributes: Any) -> Value:
        if isinstance(x, np.ndarray):
            from ..registry import operator

            entry = operator(op)
            given = {**entry.optional_attributes, "axes": list(axes) if axes else [], "keep": keep, **attributes}
            return entry.forward([x.astype(np.float64)[None]], {}, given, False)[0][0].astype(x.dtype)
        if not axes:
            axes = list(range(x.rank))
        own = sorted({x.own(a) for a in axes})
        foreign = sorted({a % x.rank for a in axes})
        out = self.add(op, [x], x, axes=own, keep=keep, **attributes)
        batch = x.batch if keep or x.batch is None else x.batch - sum(a < x.batch for a in foreign)
        return replace(out, batch=batch)

    def along(self, op: str, x: Value, axis: int, **attributes: Any) -> Value:
        x = self.data(x)
        return self.add(op, [x], x, axis=x.own(axis), **attributes)

    # ---- layers
    def linear(self, x: Data, weight: Array, bias: Array | None, keys: Mapping[str, str] | None = None) -> Data:
        """On the last axis; weight [out, in]."""
        if x.batch is not None and x.batch == x.rank - 1:
            raise Mixes
        params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return self.add(
            "linear", [x], x, params=params, keys=keys, out=weight.shape[0], bias=bias is not None, prunable=True
        )

    def matmul(self, a: Value, b: Value, scale: float = 1.0, keys: str = "") -> Value:
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return np.matmul(a, b) * scale
        if isinstance(b, np.ndarray) and b.ndim == 2 and isinstance(a, Data) and b.dtype.kind == "f":
            out = self.linear(a, np.ascontiguousarray(b.T), None, {"weight": f"{keys}^T"} if keys else None)
            return out if scale == 1.0 else self.function("scale_shift", out, scale=scale, shift=0.0)
        vectors = [len(self.foreign(v)) == 1 for v in (a, b)]
        if vectors[0]:
            a = self.unsqueeze(a, [0])
        if vectors[1]:
            b = self.unsqueeze(b, [-1])
        lead = max((v for v in (a, b) if isinstance(v, Data)), key=lambda d: (d.batch is not None, d.rank))
        rank = max(len(self.foreign(v)) for v in (a, b))
        if lead.rank < rank:
            lead = self.lift(lead, rank)
        parts = []
        for v in (a, b):
            if isinstance(v, Data):
                if v.batch is None and lead.batch is not None:
                    v = self._without_batch(v, lead)
                elif v.rank < rank:
                    v = self.lift(v, rank)
                if v.batch is not None and (v.batch, v.merged) != (lead.batch, lead.merged):
                    raise Mixes
                parts.append(v)
            else:
                parts.append(self.aligned(v, lead))
        if lead.batch is not None and lead.batch >= lead.rank - 2:
            raise Mixes
        product = self.add("matmul", parts, lead, scale=float(scale))
        drop = [a for a, v in ((-2, vectors[0]), (-1, vectors[1])) if v]
        return self.squeeze(product, drop) if drop else product

    def as_map(self, x: Value, dimensions: int) -> tuple[Data, bool]:
        """[B, C, H, W], or [B, C, L] as a map of height 1 (then true)."""
        x = self.batched(x)
        if len(x.shape) != dimensions + 1 or dimensions not in (1, 2):
            raise Unsupported(f"is of {dimensions} dimensions on samples of {len(x.shape) - 1}")
        return (self._as(x, [x.shape[0], 1, x.shape[1]], 0), True) if dimensions == 1 else (x, False)

    def from_map(self, x: Data, flat: bool) -> Data:
        return self._as(x, [x.shape[0], x.shape[2]], 0) if flat else x

    def conv(
        self, x: Value, weight: Array, bias: Array | None, *, stride, padding, dilation, groups, keys=None
    ) -> Data:
        """``padding``: begins, then ends, of each dimension."""
        d = weight.ndim - 2
        if d == 3:
            return self._conv_volume(x, weight, bias, stride, padding, dilation, groups)
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

    def _conv_volume(self, x: Value, weight: Array, bias: Array | None, stride, padding, dilation, groups) -> Data:
        """Three dimensions: a sum over the kernel's depth of flat convolutions on all slices, one below another."""
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
            y = self.conv(
                flat, weight[:, :, k], bias if k == 0 else None, stride=stride[1:], dilation=dilation[1:],
                groups=groups,
                padding=[0, padding[2], below, padding[5]],
            )  # fmt: skip
            y = self.data(self.reshape(y, [self.many, weight.shape[0], out[0], rows // stride[1], out[2]]))
            y = self.data(self.slice(y, 3, 0, out[1]))
            total = y if total is None else self.data(self.arithmetic("add", [total, y], np.add))
        assert total is not None
        return total

    def conv_transpose(
        self,
        x: Value,
        weight: Array,
        bias: Array | None,
        *,
        stride,
        padding,
        output_padding,
        dilation,
        groups,
        keys=None,
    ) -> Data:
        m, flat = self.as_map(x, weight.ndim - 2)
        if flat:
            weight = weight[:, :, None]
            stride, dilation, output_padding = [1, *stride], [1, *dilation], [0, *output_padding]
            padding = [0, padding[0], 0, padding[1]]
        params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        out = self.add(
            "conv_transpose2d", [m], m, params=params, keys=keys, out=weight.shape[1] * groups,
            kernel=list(weight.shape[2:]), stride=list(stride), padding=list(padding), groups=groups,
            output_padding=list(output_padding), dilation=list(dilation), bias=bias is not None, prunable=True,
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

    def resample(self, x: Value, axis: int, columns, weights, suffix: str = "resample") -> Value:
        x = self.data(x)
        return self.add(
            "resample", [x], x, suffix=suffix, axis=x.own(axis), columns=[[int(c) for c in row] for row in columns],
            weights=[[float(w) for w in row] for row in weights],
        )  # fmt: skip

    def gather(self, x: Value, axis: int, places: Array) -> Value:
        """Rows of one foreign axis by constant places; a scalar place drops the axis."""
        if isinstance(x, np.ndarray):
            return np.take(x, places, axis)
        size = self.foreign(x)[axis % x.rank]
        axis %= x.rank
        flat = np.asarray(places).ravel() % size
        if len(flat) == 1:
            out = self.slice(x, axis, int(flat[0]), int(flat[0]) + 1)
        else:
            out = self.resample(x, axis, flat[:, None], np.ones((len(flat), 1)), "gather")
        own = self.foreign(out)
        shape = [*own[:axis], *np.shape(places), *own[axis + 1 :]]
        if np.ndim(places) == 0:
            return self.squeeze(out, [axis])
        return out if np.ndim(places) == 1 else self.reshape(out, shape, allow_zero=True)

    def pad(
        self, x: Value, before: Sequence[int], after: Sequence[int], mode: str = "constant", value: float = 0.0
    ) -> Value:
        """By foreign axes; negative numbers cut."""
        if isinstance(x, np.ndarray):
            return np.pad(
                x, list(zip(before, after)), **({"constant_values": value} if mode == "constant" else {"mode": mode})
            )
        for axis, (a, b) in enumerate(zip(before, after)):
            if a < 0 or b < 0:
                size = self.foreign(x)[axis]
                x = self.data(self.slice(x, axis, max(0, -a), size - max(0, -b)))
        before, after = [max(0, a) for a in before], [max(0, b) for b in after]
        moved = [a for a in range(x.rank) if before[a] or after[a]]
        if not moved:
            return x
        own = {x.own(a): a for a in moved}
        if mode == "constant":
            sides = [[side[own[i]] if i in own else 0 for i in range(len(x.shape))] for side in (before, after)]
            return self.add("pad", [x], x, suffix="pad", before=sides[0], after=sides[1], value=float(value))
        for axis in moved:
            size = self.foreign(x)[axis]
            places = np.pad(np.arange(size), (before[axis], after[axis]), mode=mode)  # type: ignore[call-overload]
            x = self.data(self.gather(x, axis, places))
        return x


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


class Refused(BadInput):
    """Nodes that cannot become part of a network: ``lines`` has a sentence for each, by place."""

    lines: Sequence[str] = ()


def refuse_all(found: Sequence[tuple[str, str, str]], total: int, opset: str = "") -> Refused:
    """One refusal that names every node: (operator, place, why)."""
    lines = []
    for op, place, why in sorted(found, key=lambda f: (f[1], f[0])):
        lines.append(f"Operator '{op}' at '{place}'{opset} {why}.")
    shown = "\n".join(lines[:40]) + (f"\n... and {len(lines) - 40} more" if len(lines) > 40 else "")
    refused = Refused(
        f"{len(lines)} of {total} nodes cannot become part of a network that learns here:\n{shown}",
        "Replace these layers by others; docs/models.md lists what can be imported.",
    )
    refused.lines = lines
    return refused
