"""Reductions over some axes of each sample: sum, mean, max, min, prod, log_sum_exp, argmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..registry import Operator, register
from ._check import any_input, axis_of


class Reduce(Operator):
    """attributes: axes (of the sample; empty: all), keep: whether they stay with size 1."""

    optional_attributes: Mapping[str, Any] = {"axes": [], "keep": False}

    def axes(self, shape, attributes) -> tuple[int, ...]:
        chosen = attributes["axes"] or range(len(shape))
        return tuple(sorted({axis_of(self.name, [shape], a) for a in chosen}))

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        axes = self.axes(shape, attributes)
        if attributes["keep"]:
            return tuple(1 if a in axes else n for a, n in enumerate(shape))
        return tuple(n for a, n in enumerate(shape) if a not in axes)

    def _batched(self, x, attributes) -> tuple[int, ...]:
        return tuple(a + 1 for a in self.axes(x.shape[1:], attributes))

    def _output(self, y, x, attributes):
        return y if attributes["keep"] else y.reshape(x.shape[:1] + tuple(self.shape([tuple(x.shape[1:])], attributes)))

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        y = self.reduce(x, axes) if axes else self.alone(x)
        return self._output(y, x, attributes), (x, y, axes)

    def backward(self, grad, context, params, attributes):
        x, y, axes = context
        return [np.broadcast_to(grad.reshape(y.shape), x.shape) * self.slope(x, y, axes)], {}

    def alone(self, x):
        """Of a tensor without axes."""
        return self.reduce(x[:, None], (1,))[:, 0]

    def reduce(self, x, axes):
        raise NotImplementedError

    def slope(self, x, y, axes):
        raise NotImplementedError


class Sum(Reduce):
    name = "reduce_sum"

    def reduce(self, x, axes):
        return x.sum(axes, keepdims=True)

    def slope(self, x, y, axes):
        return np.ones_like(x)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        return self._output(x.sum(axes, keepdim=True) if axes else x, x, attributes)


class Mean(Reduce):
    name = "reduce_mean"

    def reduce(self, x, axes):
        return x.mean(axes, keepdims=True)

    def slope(self, x, y, axes):
        return np.full_like(x, 1 / math.prod(x.shape[a] for a in axes))

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        return self._output(x.mean(axes, keepdim=True) if axes else x, x, attributes)


class _Extreme(Reduce):
    """Equal values share the gradient, as torch's amax does."""

    def slope(self, x, y, axes):
        same = x == y
        return same / same.sum(axes, keepdims=True) if axes else np.ones_like(x)


class Max(_Extreme):
    name = "reduce_max"

    def reduce(self, x, axes):
        return x.max(axes, keepdims=True)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        return self._output(x.amax(axes, keepdim=True) if axes else x, x, attributes)


class Min(_Extreme):
    name = "reduce_min"

    def reduce(self, x, axes):
        return x.min(axes, keepdims=True)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        return self._output(x.amin(axes, keepdim=True) if axes else x, x, attributes)


class Prod(Reduce):
    """The derivative by a value is the product of the others, also where some are zero."""

    name = "reduce_prod"

    def reduce(self, x, axes):
        return x.prod(axes, keepdims=True)

    def slope(self, x, y, axes):
        if not axes:
            return np.ones_like(x)
        moved = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
        flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
        ones = np.ones_like(flat[..., :1])
        before = np.concatenate([ones, np.cumprod(flat, -1)[..., :-1]], -1)
        after = np.concatenate([np.cumprod(flat[..., ::-1], -1)[..., ::-1][..., 1:], ones], -1)
        return np.moveaxis((before * after).reshape(moved.shape), range(x.ndim - len(axes), x.ndim), axes)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        y = x
        for a in self._batched(x, attributes):
            y = y.prod(a, keepdim=True)
        return self._output(y, x, attributes)


class LogSumExp(Reduce):
    name = "log_sum_exp"

    def reduce(self, x, axes):
        m = x.max(axes, keepdims=True)
        return m + np.log(np.exp(x - m).sum(axes, keepdims=True))

    def slope(self, x, y, axes):
        return np.exp(x - y)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = self._batched(x, attributes)
        return self._output(x.logsumexp(axes, keepdim=True) if axes else x, x, attributes)


class ArgMax(Reduce):
    """Position of the first largest value along one axis, as float; ``last``: of the last one. No gradient."""

    name = "argmax"
    optional_attributes: Mapping[str, Any] = {"axes": [], "keep": False, "last": False}

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        (axis,) = self._batched(x, attributes) or (None,)
        if axis is None:
            return np.zeros_like(x), (x, x, ())
        n = x.shape[axis]
        found = (
            n - 1 - np.flip(x, axis).argmax(axis, keepdims=True)
            if attributes["last"]
            else x.argmax(axis, keepdims=True)
        )
        y = found.astype(x.dtype)
        return self._output(y, x, attributes), (x, y, (axis,))

    def slope(self, x, y, axes):
        return np.zeros_like(x)

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        (axis,) = self._batched(x, attributes)
        n = x.shape[axis]
        found = n - 1 - x.flip(axis).argmax(axis, keepdim=True) if attributes["last"] else x.argmax(axis, keepdim=True)
        return self._output(found.to(x.dtype) + 0 * x.sum(axis, keepdim=True), x, attributes)


class _Along(Operator):
    """One function along one axis of each sample (attribute ``axis``)."""

    optional_attributes: Mapping[str, Any] = {"axis": -1}

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        axis_of(self.name, inputs, attributes["axis"])
        return shape

    def _axis(self, x, attributes) -> int:
        return axis_of(self.name, [x.shape[1:]], attributes["axis"]) + 1


class Softmax(_Along):
    name = "softmax"

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axis = self._axis(x, attributes)
        e = np.exp(x - x.max(axis, keepdims=True))
        y = e / e.sum(axis, keepdims=True)
        return y, (y, axis)

    def backward(self, grad, context, params, attributes):
        y, axis = context
        return [y * (grad - (grad * y).sum(axis, keepdims=True))], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].softmax(self._axis(inputs[0], attributes))


class LogSoftmax(_Along):
    name = "log_softmax"

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axis = self._axis(x, attributes)
        m = x.max(axis, keepdims=True)
        y = x - m - np.log(np.exp(x - m).sum(axis, keepdims=True))
        return y, (y, axis)

    def backward(self, grad, context, params, attributes):
        y, axis = context
        return [grad - np.exp(y) * grad.sum(axis, keepdims=True)], {}

    def torch(self, inputs, params, attributes, training):
        return inputs[0].log_softmax(self._axis(inputs[0], attributes))


class UnitNorm(Operator):
    """x / max(|x|, eps) with the Euclidean norm over some axes (all where none are named)."""

    name = "unit_norm"
    optional_attributes: Mapping[str, Any] = {"axes": [], "eps": 1e-12}

    def shape(self, inputs, attributes):
        shape = any_input(self.name, inputs)
        Sum().axes(shape, attributes)
        return shape

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = tuple(a + 1 for a in Sum().axes(x.shape[1:], attributes))
        norm = np.sqrt(np.square(x).sum(axes, keepdims=True))
        return x / np.maximum(norm, attributes["eps"]), (x, norm, axes)

    def backward(self, grad, context, params, attributes):
        x, norm, axes = context
        d = np.maximum(norm, attributes["eps"])
        along = np.where(norm > attributes["eps"], (grad * x).sum(axes, keepdims=True) / (d * d), 0)
        return [(grad - x * along) / d], {}

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        axes = tuple(a + 1 for a in Sum().axes(tuple(x.shape[1:]), attributes))
        norm = (x * x).sum(axes, keepdim=True).sqrt()
        return x / torch.clamp(norm, min=attributes["eps"])


for _entry in (Sum(), Mean(), Max(), Min(), Prod(), LogSumExp(), ArgMax(), Softmax(), LogSoftmax(), UnitNorm()):
    register(_entry)
