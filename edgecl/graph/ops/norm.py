"""batch_norm (Ioffe and Szegedy 2015) and group_norm (Wu and He 2018), on tensors (C, ..)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import any_input, refuse


def _channels(op: str, inputs):
    """The input's shape; its first axis is the channel."""
    if not any_input(op, inputs):
        raise refuse(op, inputs, "it takes a tensor with channels (C, ..)")
    return inputs[0]


def _affine(channels: int) -> dict[str, ParameterSpec]:
    return {
        "scale": ParameterSpec("", (channels,), "scale", "ones"),
        "shift": ParameterSpec("", (channels,), "shift", "zeros"),
    }


def _column(v: np.ndarray, ndim: int) -> np.ndarray:
    """[C] -> [C, 1, 1] for maps, [C] for vectors: broadcasts over [B, C, ...]."""
    return v.reshape(v.shape + (1,) * (ndim - 2))


def _over_channel(x: np.ndarray) -> tuple[int, ...]:
    """All axes but the channel's."""
    return (0, *range(2, x.ndim))


def running_update(running: np.ndarray, batch: np.ndarray, momentum: float, count: int | None = None) -> np.ndarray:
    """New running statistic. For the variance pass ``count`` (elements per channel): it is unbiased.

    A single element per channel has no unbiased variance; its biased one (0) is used.
    """
    if count is not None:
        batch = batch * (count / max(count - 1, 1))
    return (1 - momentum) * running + momentum * batch


class BatchNorm(Operator):
    """attributes: eps, momentum. scale, shift [C] trained; running_mean, running_var [C] statistics.

    Training normalises by the batch's mean and biased variance; running statistics are the caller's:
    the context holds ``mean``, ``var`` and ``count`` for `running_update`. The torch twin updates the running
    statistics it is given in place, as torch does.
    """

    name = "batch_norm"
    optional_attributes: Mapping[str, Any] = {"eps": 1e-5, "momentum": 0.1}

    def shape(self, inputs, attributes):
        return _channels(self.name, inputs)

    def parameters(self, inputs, attributes):
        channels = inputs[0][0]
        return {
            **_affine(channels),
            "running_mean": ParameterSpec("", (channels,), "statistic", "zeros"),
            "running_var": ParameterSpec("", (channels,), "statistic", "ones"),
        }

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        axes = _over_channel(x)
        mean = x.mean(axes) if training else params["running_mean"]
        var = x.var(axes) if training else params["running_var"]
        inverse = 1 / np.sqrt(var + attributes["eps"])
        xhat = (x - _column(mean, x.ndim)) * _column(inverse, x.ndim)
        y = xhat * _column(params["scale"], x.ndim) + _column(params["shift"], x.ndim)
        context = {
            "mean": mean,
            "var": var,
            "count": x.size // x.shape[1],
            "xhat": xhat,
            "inverse": inverse,
            "training": training,
        }
        return y, context

    def backward(self, grad, context, params, attributes):
        xhat, axes = context["xhat"], _over_channel(grad)
        grads = {"scale": (grad * xhat).sum(axes), "shift": grad.sum(axes)}
        factor = _column(params["scale"] * context["inverse"], grad.ndim)
        if not context["training"]:
            return [grad * factor], grads
        # the batch's mean and variance depend on x: project their directions out of the gradient
        n = context["count"]
        centred = grad - _column(grads["shift"] / n, grad.ndim) - xhat * _column(grads["scale"] / n, grad.ndim)
        return [centred * factor], grads

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        eps, momentum = attributes["eps"], attributes["momentum"]
        if training and x.numel() == x.shape[1]:
            # torch refuses one element per channel; xhat is exactly 0 there
            with torch.no_grad():
                params["running_mean"].lerp_(x.detach().reshape(-1), momentum)
                params["running_var"].mul_(1 - momentum)
            shape = (1, -1) + (1,) * (x.ndim - 2)
            return (x - x) * params["scale"].view(shape) + params["shift"].view(shape)
        return torch.nn.functional.batch_norm(
            x,
            params["running_mean"],
            params["running_var"],
            params["scale"],
            params["shift"],
            training=training,
            momentum=momentum,
            eps=eps,
        )


class GroupNorm(Operator):
    """attributes: groups, eps. Each sample's channels are normalised in ``groups`` consecutive groups."""

    name = "group_norm"
    optional_attributes: Mapping[str, Any] = {"eps": 1e-5}

    def shape(self, inputs, attributes):
        shape = _channels(self.name, inputs)
        if attributes["groups"] < 1 or shape[0] % attributes["groups"]:
            raise refuse(self.name, inputs, f"{attributes['groups']} groups do not divide {shape[0]} channels")
        return shape

    def parameters(self, inputs, attributes):
        return _affine(inputs[0][0])

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        rows = x.reshape(x.shape[0], attributes["groups"], -1)
        inverse = 1 / np.sqrt(rows.var(2, keepdims=True) + attributes["eps"])
        xhat = ((rows - rows.mean(2, keepdims=True)) * inverse).reshape(x.shape)
        y = xhat * _column(params["scale"], x.ndim) + _column(params["shift"], x.ndim)
        return y, (xhat, inverse)

    def backward(self, grad, context, params, attributes):
        xhat, inverse = context
        axes = _over_channel(grad)
        grads = {"scale": (grad * xhat).sum(axes), "shift": grad.sum(axes)}
        rows = (grad * _column(params["scale"], grad.ndim)).reshape(grad.shape[0], attributes["groups"], -1)
        xrows = xhat.reshape(rows.shape)
        rows = rows - rows.mean(2, keepdims=True) - xrows * (rows * xrows).mean(2, keepdims=True)
        return [(rows * inverse).reshape(grad.shape)], grads

    def torch(self, inputs, params, attributes, training):
        # written out: torch's group_norm refuses one value per group
        (x,) = inputs
        rows = x.reshape(x.shape[0], attributes["groups"], math.prod(x.shape[1:]) // attributes["groups"])
        centred = rows - rows.mean(2, keepdim=True)
        xhat = centred / (centred.square().mean(2, keepdim=True) + attributes["eps"]).sqrt()
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return xhat.reshape(x.shape) * params["scale"].view(shape) + params["shift"].view(shape)


register(BatchNorm())
register(GroupNorm())
