"""What a training step costs, operation by operation, for the device cost model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..compiler import weight_costs
from ..devices import OperationCost
from ..graph import Graph


def step_costs(graph: Graph, rows: int, densities: Mapping[str, float], keep: float) -> list[OperationCost]:
    """Forward, backward and step of ``rows`` samples at these densities and gradient keep fraction.

    Convolutions and linear layers count FLOPs and the bytes of their weights and maps (float32); everything
    else
    counts bytes: its maps read and written, forward and backward.
    """
    weighted = {c.node: c for c in weight_costs(graph)}
    costs = []
    for node in graph.nodes:
        maps = sum(int(np.prod(graph.shapes[t])) for t in (*node.inputs, node.output)) * rows * 4
        cost = weighted.get(node.name)
        if cost is None:
            costs.append(OperationCost(node.name, 0, 2 * maps, "bandwidth"))
            continue
        spec = graph.parameters[cost.name]
        density = densities.get(cost.name, 1.0)
        living = round(spec.size * density)
        trained = round(living * keep) if density < 1 else living
        depthwise = int(node.attributes.get("groups", 1)) == graph.shapes[node.output][0] > 1
        kind = "depthwise" if depthwise else "sparse" if density < 1 else "dense"
        # values once per pass and the update's read and write; an index per living weight where it is sparse
        weights = living * (4 * 3 + (2 * 4 if density < 1 else 0)) + trained * 8
        flops = cost.forward(living, rows) + cost.backward(living, trained, rows)
        costs.append(OperationCost(node.name, flops, 3 * maps + weights, kind))
    return costs
