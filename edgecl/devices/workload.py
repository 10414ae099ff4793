"""What a network asks of a machine, pass by pass, whatever runs it: multiply-adds and bytes of every operation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..compiler import weight_costs
from ..compiler.flops import follows_trained
from ..compiler.operations import fused_code
from ..errors import BadInput
from ..graph import Graph, Node, operator
from ..graph.freeze import keeps_statistics

FORWARD, INPUT, WEIGHT, UPDATE = "forward", "input", "weight", "update"
MODES = ("train", "head", "inference")
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Operation:
    """One pass of one node over ``rows`` samples.

    kind : ``conv`` (k x k), ``pointwise`` (1 x 1), ``depthwise``, ``linear`` (also of tokens), ``attention``,
        ``norm``, ``activation``, ``add``, ``pool``, ``feed`` (the input), ``copy``, ``view`` or ``optimizer``
    phase : ``forward``, ``input`` (gradient of the input), ``weight`` (gradient of the weights), ``update``
    macs : multiply-adds over living weights
    read, written : bytes of maps that must be read and written once;  weights : bytes of living weights
    reduction, channels, positions, area : multiply-adds behind one dense output value, output channels, output
        positions of a sample, kernel positions
    absorbed : our engine does it on the way into the next depthwise or pointwise convolution, whose rates hold it
    """

    name: str
    kind: str
    phase: str
    macs: float
    read: float
    written: float
    weights: float = 0.0
    density: float = 1.0
    reduction: int = 1
    channels: int = 1
    positions: int = 1
    area: int = 1
    stride: int = 1
    groups: int = 1
    rows: int = 1
    flat: bool = False
    absorbed: bool = False

    @property
    def flops(self) -> float:
        """2 x macs."""
        return 2 * self.macs

    @property
    def bytes(self) -> float:
        return self.read + self.written + self.weights


KINDS = {
    "batch_norm": "norm", "group_norm": "norm", "layer_norm": "norm", "add": "add", "max_pool": "pool",
    "avg_pool": "pool", "global_avg_pool": "pool", "attention": "attention", "normalise": "feed", "flatten": "view",
    "dropout": "activation", "concat": "copy", "tokens": "copy", "first_token": "view",
}  # fmt: skip


def operations(
    graph: Graph, rows: int, mode: str = "train", densities: Mapping[str, float] | None = None, keep: float = 1.0
) -> list[Operation]:
    """Every pass of every node of ``graph`` over ``rows`` samples. What is frozen has no gradient of its weights, what
    stands below all that learns none at all.

    mode : ``train`` (forward, backward, update of everything), ``head`` (forward in training mode; backward and
        update of the last linear layer only), ``inference``
    densities : living share by weight tensor;  keep : share of the living weights of sparse tensors with a gradient
    """
    if mode not in MODES:
        raise BadInput(f"There is no mode '{mode}'.", f"Use {', '.join(MODES)}.")
    costs, follows = {c.node: c for c in weight_costs(graph)}, follows_trained(graph)
    taken = absorbed(graph)
    last = max(costs, key=[n.name for n in graph.nodes].index)
    found: list[Operation] = []
    for node in graph.nodes:
        sizes = [rows * FLOAT * math.prod(graph.shapes[i]) for i in node.inputs]
        out = rows * FLOAT * math.prod(graph.shapes[node.output])
        learns = mode == "train" or (mode == "head" and node.name == last)
        if node.name in costs:
            weight = graph.parameters[node.parameters[0]]
            density = (densities or {}).get(weight.name, 1.0)
            living = round(weight.size * density)
            trained = round(living * keep) if density < 1 else living
            cost = costs[node.name]
            more = _geometry(graph, node, rows)
            positions, size = cost.positions * rows, living * FLOAT

            def one(phase: str, macs: float, read: float, written: float) -> Operation:
                return Operation(node.name, kind, phase, macs, read, written, size, density, **more)  # noqa: B023

            kind = weight_kind(graph, node)
            found.append(one(FORWARD, living * positions, sizes[0], out))
            if learns and cost.input_gradient and mode == "train":
                found.append(one(INPUT, living * positions, out, sizes[0]))
            if learns and weight.trained:
                found.append(one(WEIGHT, trained * positions, sizes[0] + out, 0))
                found.append(_update(node.name, trained, density))
            if learns:
                rest = (graph.parameters[p] for p in node.parameters[1:])
                found += [_update(node.name, p.size) for p in rest if p.trained]
            continue
        kind = "activation" if keeps_statistics(graph, node) else KINDS.get(node.op, "activation")
        macs = operator(node.op, node.name).macs([graph.shapes[i] for i in node.inputs], node.attributes) * rows
        inside = node.output in taken
        found.append(Operation(node.name, kind, FORWARD, macs, sum(sizes), out, rows=rows, absorbed=inside))
        if mode == "train":
            trained_here = (graph.parameters[p] for p in node.parameters)
            found += [_update(node.name, p.size) for p in trained_here if p.trained]
        if mode == "train" and follows[node.output]:
            moved = (out + sum(sizes), sum(sizes))
            found.append(Operation(node.name, kind, INPUT, 2 * macs, *moved, rows=rows, absorbed=inside))
    return found


def absorbed(graph: Graph) -> set[str]:
    """Outputs of normalisations and activations that only a fused convolution reads (see `compiler.forward`)."""
    producer = {n.output: n for n in graph.nodes}
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    found: set[str] = set()
    for node in graph.nodes:
        if node.op != "conv2d" or fused_code(graph, node) is None:
            continue
        before = producer.get(node.inputs[0])
        while before is not None and readers[before.output] == 1 and before.op in ("relu", "relu6", "batch_norm"):
            found.add(before.output)
            before = producer.get(before.inputs[0])
    return found


def _update(name: str, values: int, density: float = 1.0) -> Operation:
    """Value, gradient and momentum read, value and momentum written."""
    return Operation(name, "optimizer", UPDATE, 0, 3 * values * FLOAT, 2 * values * FLOAT, density=density)


def weight_kind(graph: Graph, node: Node) -> str:
    """The class of kernel of a convolution or linear layer."""
    if node.op == "linear":
        return "linear"
    groups = int(node.attributes["groups"])
    if groups == graph.shapes[node.output][0] > 1:
        return "depthwise"
    if math.prod(node.attributes["kernel"]) > 1:
        return "conv"
    tokens = graph.shapes[node.output][1] == 1  # [D, 1, T]: a matrix product in every framework
    return "linear" if tokens else "pointwise"


def _geometry(graph: Graph, node: Node, rows: int) -> dict[str, Any]:
    shape = graph.parameters[node.parameters[0]].shape
    out = graph.shapes[node.output]
    area = math.prod(shape[2:])
    stride = max(node.attributes.get("stride", [1]))
    return {
        "reduction": math.prod(shape[1:]), "channels": shape[0], "positions": math.prod(out[1:]), "area": area,
        "stride": stride, "groups": int(node.attributes.get("groups", 1)), "rows": rows,
        "flat": len(out) == 3 and out[1] == 1,
    }  # fmt: skip
