"""Operators that only move values: reshape, transpose, expand, concat, slice, resample, pad.

Most cost nothing or one pass over memory when lowered; none has an axis for the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import aligned, any_input, axis_of, broadcast, refuse, summed_to


class Reshape(Operator):
    """attributes: shape, of as many values."""

    name = "reshape"

    def shape(self, inputs, attributes):
        shape = tuple(attributes["shape"])
        if math.prod(any_input(self.name, inputs)) != math.prod(shape) or (shape and min(shape) < 1):
            raise refuse(self.name, inputs, f"it has not as many values as {shape}")
        any_input(self.name, [shape])
        return shape

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return x.reshape(x.shape[0], *attributes["shape"]), x.shape

    def backward(self, grad, context, params, attributes):
        return [grad.reshape(context)], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].reshape(inputs[0].shape[0], *attributes["shape"])


class Transpose(Operator):
    """attributes: axes, the order in which the sample's axes stand afterwards."""

    name = "transpose"

    def shape(self, inputs, attributes):
        shape, axes = any_input(self.name, inputs), list(attributes["axes"])
        if sorted(axes) != list(range(len(shape))):
            raise refuse(self.name, inputs, f"{axes} is no order of its axes")
        return tuple(shape[a] for a in axes)

    def forward(self, inputs, params, attributes, training):
        return inputs[0].transpose(0, *(a + 1 for a in attributes["axes"])), None

    def backward(self, grad, context, params, attributes):
        back = np.argsort(attributes["axes"])
        return [grad.transpose(0, *(int(a) + 1 for a in back))], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].permute(0, *(a + 1 for a in attributes["axes"]))


class Expand(Operator):
    """attributes: shape, to which axes of size 1 are repeated and in front of which axes may be added."""

    name = "expand"

    def shape(self, inputs, attributes):
        shape = tuple(attributes["shape"])
        if broadcast(self.name, [any_input(self.name, inputs), shape]) != shape:
            raise refuse(self.name, inputs, f"it does not repeat to {shape}")
        return shape

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        y = np.broadcast_to(aligned(x, len(attributes["shape"])), (x.shape[0], *attributes["shape"]))
        return y.copy(), x.shape

    def backward(self, grad, context, params, attributes):
        return [summed_to(grad, context)], {}

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        return aligned(x, len(attributes["shape"])).expand(x.shape[0], *attributes["shape"])


class Concat(Operator):
    """attributes: axis; tensors of one shape but for that axis."""

    name = "concat"
    optional_attributes: Mapping[str, Any] = {"axis": 0}

    def shape(self, inputs, attributes):
        if not inputs:
            raise refuse(self.name, inputs, "it takes one or more")
        axis = axis_of(self.name, inputs, attributes["axis"])
        rest = {(len(s), *s[:axis], *s[axis + 1 :]) for s in inputs}
        if len(rest) != 1:
            raise refuse(self.name, inputs, f"they differ in more than axis {axis}")
        return (*inputs[0][:axis], sum(s[axis] for s in inputs), *inputs[0][axis + 1 :])

    def _axis(self, x, attributes):
        return axis_of(self.name, [x.shape[1:]], attributes["axis"]) + 1

    def forward(self, inputs, params, attributes, training):
        batch = max(x.shape[0] for x in inputs)  # a parameter has one sample for all
        axis = self._axis(inputs[0], attributes)
        whole = [np.broadcast_to(x, (batch, *x.shape[1:])) for x in inputs]
        return np.concatenate(whole, axis), (axis, [x.shape for x in inputs])

    def backward(self, grad, context, params, attributes):
        axis, shapes = context
        parts = np.split(grad, np.cumsum([s[axis] for s in shapes])[:-1], axis)
        return [summed_to(p, s) for p, s in zip(parts, shapes)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        batch = max(x.shape[0] for x in inputs)
        whole = [x.expand(batch, *x.shape[1:]) for x in inputs]
        return torch.cat(whole, self._axis(inputs[0], attributes))


class Slice(Operator):
    """attributes: start, size and step of each axis; a step may be negative."""

    name = "slice"

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        start, size, step = (list(attributes[k]) for k in ("start", "size", "step"))
        if not len(start) == len(size) == len(step) == len(shape):
            raise refuse(self.name, inputs, "start, size and step must name each axis")
        for n, a, m, s in zip(shape, start, size, step):
            if m < 1 or s == 0 or not 0 <= a < n or not 0 <= a + (m - 1) * s < n:
                raise refuse(self.name, inputs, f"{m} values from {a} by {s} do not lie in an axis of {n}")
        return tuple(size)

    @staticmethod
    def _index(attributes):
        at = []
        for a, m, s in zip(attributes["start"], attributes["size"], attributes["step"]):
            end = a + m * s
            at.append(slice(a, None if end < 0 else end, s))
        return (slice(None), *at)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return x[self._index(attributes)].copy(), x.shape

    def backward(self, grad, context, params, attributes):
        dx = np.zeros(context, grad.dtype)
        dx[self._index(attributes)] = grad
        return [dx], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        x = inputs[0]
        for i, (a, m, s) in enumerate(zip(attributes["start"], attributes["size"], attributes["step"])):
            x = x.index_select(i + 1, torch.tensor([a + j * s for j in range(m)]))
        return x


class Pad(Operator):
    """attributes: before, after (of each axis), value: what stands around the tensor."""

    name = "pad"
    optional_attributes: Mapping[str, Any] = {"value": 0.0}

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        before, after = attributes["before"], attributes["after"]
        if not len(before) == len(after) == len(shape) or min([0, *before, *after]) < 0:
            raise refuse(self.name, inputs, f"padding of {before} and {after}")
        return tuple(n + a + b for n, a, b in zip(shape, before, after))

    def forward(self, inputs, params, attributes, training):
        widths = [(0, 0), *zip(attributes["before"], attributes["after"])]
        return np.pad(inputs[0], widths, constant_values=attributes["value"]), inputs[0].shape

    def backward(self, grad, context, params, attributes):
        at = tuple(slice(a, a + n) for a, n in zip(attributes["before"], context[1:]))
        return [grad[(slice(None), *at)]], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        widths = [w for a, b in reversed(list(zip(attributes["before"], attributes["after"]))) for w in (a, b)]
        return torch.nn.functional.pad(inputs[0], widths, value=attributes["value"])


class Resample(Operator):
    """Along one axis: y[i] = sum over j of weights[i][j] * x[columns[i][j]].

    attributes: axis, columns and weights, a list for each output position. Gathering, repeating, flipping, padding by
    reflection, interpolation and cumulative sums are all of this kind.
    """

    name = "resample"

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        axis = axis_of(self.name, inputs, attributes["axis"])
        columns, weights = attributes["columns"], attributes["weights"]
        if not columns or [len(c) for c in columns] != [len(w) for w in weights]:
            raise refuse(self.name, inputs, "columns and weights must be lists of the same lengths")
        if any(not 0 <= j < shape[axis] for c in columns for j in c):
            raise refuse(self.name, inputs, f"a column lies outside axis {axis}")
        return (*shape[:axis], len(columns), *shape[axis + 1 :])

    def matrix(self, inputs, attributes) -> np.ndarray:
        """The weights as a dense matrix [output, input]."""
        axis = axis_of(self.name, inputs, attributes["axis"])
        m = np.zeros((len(attributes["columns"]), inputs[0][axis]))
        for i, (columns, weights) in enumerate(zip(attributes["columns"], attributes["weights"])):
            for j, w in zip(columns, weights):
                m[i, j] += w
        return m

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        m = self.matrix([x.shape[1:]], attributes).astype(x.dtype)
        axis = axis_of(self.name, [x.shape[1:]], attributes["axis"]) + 1
        return np.moveaxis(np.moveaxis(x, axis, -1) @ m.T, -1, axis), (m, axis)

    def backward(self, grad, context, params, attributes):
        m, axis = context
        return [np.moveaxis(np.moveaxis(grad, axis, -1) @ m, -1, axis)], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        shape = tuple(x.shape[1:])
        m = torch.from_numpy(self.matrix([shape], attributes)).to(x.dtype)
        axis = axis_of(self.name, [shape], attributes["axis"]) + 1
        return (x.movedim(axis, -1) @ m.T).movedim(-1, axis)


for _entry in (Reshape(), Transpose(), Expand(), Concat(), Slice(), Pad(), Resample()):
    register(_entry)
