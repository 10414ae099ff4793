"""Tensors in another shape, of torch."""

from __future__ import annotations

import math

import numpy as np

from ..emit import Emit
from ..foreign import Data, Value
from .registry import Call, as_value, aten


@aten("view", "reshape", "_unsafe_view", "unflatten", "_reshape_alias")
def _view(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    if c.op == "unflatten":
        own, dim = emit.foreign(x), int(c["dim"])
        dim %= len(own)
        sizes = [int(n) for n in c["sizes"]]
        if -1 in sizes:
            sizes[sizes.index(-1)] = own[dim] // -math.prod(sizes)
        return emit.reshape(x, [*own[:dim], *sizes, *own[dim + 1 :]], allow_zero=True)
    return emit.reshape(x, [int(n) for n in c.get("size", c.get("shape"))], allow_zero=True)


@aten("flatten")
def _flatten(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    own = emit.foreign(x)
    a, b = int(c["start_dim"]) % len(own), int(c["end_dim"]) % len(own)
    return emit.reshape(x, [*own[:a], math.prod(own[a : b + 1]), *own[b + 1 :]], allow_zero=True)


@aten("permute")
def _permute(emit: Emit, c: Call) -> Value:
    return emit.transpose(as_value(c["self"]), [int(d) for d in c["dims"]])


@aten("transpose", "swapaxes", "t", "numpy_T")
def _transpose(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    rank = len(emit.foreign(x))
    order = list(range(rank))
    a, b = int(c.get("dim0", c.get("axis0", 0))) % rank, int(c.get("dim1", c.get("axis1", -1))) % rank
    order[a], order[b] = order[b], order[a]
    return emit.transpose(x, order)


@aten("squeeze")
def _squeeze(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    own = emit.foreign(x)
    axes = c.get("dim")
    axes = [axes] if isinstance(axes, int) else axes
    axes = [a for a in (range(len(own)) if axes is None else axes) if own[a] == 1]
    return emit.squeeze(x, axes) if axes else x


@aten("unsqueeze")
def _unsqueeze(emit: Emit, c: Call) -> Value:
    x = as_value(c["self"])
    if isinstance(x, np.ndarray) and "self" in c.names:
        x = np.asarray(x)
    return emit.unsqueeze(x, [int(c["dim"])])


@aten("expand", "expand_as", "broadcast_to")
def _expand(emit: Emit, c: Call) -> Value:
    x = as_parameter(emit, c, "self")
    target = emit.foreign(as_value(c["other"])) if c.op == "expand_as" else [int(n) for n in c["size"]]
    if isinstance(x, Data) and x.batch is None:  # a parameter: it broadcasts to the batch by itself
        own = [1] * (len(target) - len(x.shape)) + list(x.shape)
        if target and target[0] == emit.many and own[0] == 1:
            sizes = [a if n == -1 else int(n) for a, n in zip(own[1:], target[1:])]
            y = emit._as(x, own[1:], None)
            if sizes != own[1:]:
                y = emit.add("expand", [y], y, suffix="repeat", shape=sizes)
            return Data(y.name, y.shape, 0)
    return emit.expand(x, target)


@aten("repeat")
def _repeat(emit: Emit, c: Call) -> Value:
    x, repeats = as_value(c["self"]), [int(n) for n in c["repeats"]]
    own = emit.foreign(x)
    if len(repeats) > len(own):
        x = emit.unsqueeze(x, list(range(len(repeats) - len(own))))
    for axis, n in enumerate(repeats):
        if n == emit.many and emit.foreign(x)[axis] == 1:
            x = emit.expand(x, [n if a == axis else -1 for a in range(len(repeats))])
        elif n != 1:
            x = emit.concat([x] * n, axis)
    return x


def as_parameter(emit: Emit, c: Call, key: str) -> Value:
    v = as_value(c[key])
    if isinstance(v, np.ndarray) and key in c.names and v.dtype.kind == "f":
        return emit.constant(v, trained=True, key=c.names[key])
    return v
