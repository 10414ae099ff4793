"""Operators that have a shape and a cost but no kernel: graphs with them can be planned on a device, not trained.

The cost model needs them for published networks (MobileNetV3, ViT, ...). `operator` finds them, `operators` does not
list them, and an engine refuses them by name and place (`refuse_cost_only`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import EdgeclError
from ..graph import Graph, ParameterSpec
from ..registry import Operator, operator, register_cost_only
from ._check import one_map, refuse


class CostOnly(Operator):
    """Base: shape and parameters as any operator; ``macs`` are multiply-adds without weights, per sample."""

    cost_only = True

    def forward(self, inputs, params, attributes, training):
        raise _refusal(self.name, "")

    def backward(self, grad, context, params, attributes):
        raise _refusal(self.name, "")

    def torch(self, inputs, params, attributes, training):
        raise _refusal(self.name, "")


def _refusal(op: str, place: str) -> EdgeclError:
    where = f" at '{place}'" if place else ""
    return EdgeclError(
        f"Operator '{op}'{where} has a cost but no kernel: this network can be planned on a device, not trained.",
        "Use it with the cost model only, or choose a network that trains, such as resnet18 or mobilenetv2.",
    )


def refuse_cost_only(graph: Graph) -> None:
    """Raise EdgeclError at the first node of ``graph`` that cannot be computed here."""
    for node in graph.nodes:
        if operator(node.op, node.name).cost_only:
            raise _refusal(node.op, node.name)


class Tokens(CostOnly):
    """A map [D, H, W] as H*W tokens [D, 1, T], with a class token and position codes added: T = H*W + 1."""

    name = "tokens"

    def shape(self, inputs, attributes):
        d, h, w = one_map(self.name, inputs)
        return (d, 1, h * w + 1)

    def parameters(self, inputs, attributes):
        d, h, w = inputs[0]
        return {
            "class_token": ParameterSpec("", (d,), "shift", "zeros"),
            "position": ParameterSpec("", (d, h * w + 1), "shift", "zeros"),
        }


class FirstToken(CostOnly):
    """Tokens [D, 1, T] -> the class token [D]."""

    name = "first_token"

    def shape(self, inputs, attributes):
        return (one_map(self.name, inputs)[0],)


class Attention(CostOnly):
    """Softmax attention of ``heads`` heads: queries, keys and values [3D, 1, T] -> [D, 1, T].

    ``linear``: ReLU linear attention instead (Cai et al. 2023), T * head^2 multiply-adds for T^2 * head.
    """

    name = "attention"
    optional_attributes: Mapping[str, Any] = {"linear": False}

    def shape(self, inputs, attributes):
        channels, h, w = one_map(self.name, inputs)
        if channels % (3 * attributes["heads"]):
            raise refuse(self.name, inputs, f"{attributes['heads']} heads do not divide {channels} / 3 channels")
        return (channels // 3, h, w)

    def macs(self, inputs, attributes):
        channels, h, w = inputs[0]
        tokens, d = h * w, channels // 3
        return 2 * tokens * d * (d // attributes["heads"] if attributes["linear"] else tokens)


for _entry in (Tokens(), FirstToken(), Attention()):
    register_cost_only(_entry)
