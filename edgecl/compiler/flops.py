"""FLOPs of a graph: 2 x MACs of convolutions and linear layers, per living weight and real sample."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..graph import Graph, operator


@dataclass(frozen=True)
class WeightCost:
    """Cost of one weight tensor. For n living weights, m of them trained, and B samples:
    forward 2*n*positions*B; backward 2*n*positions*B for the input (when ``input_gradient``) plus
    2*m*positions*B for the weights.
    """

    name: str
    node: str
    positions: int
    input_gradient: bool

    def forward(self, living: int, samples: int) -> int:
        return 2 * living * self.positions * samples

    def backward(self, living: int, trained: int, samples: int) -> int:
        return 2 * (living * self.input_gradient + trained) * self.positions * samples


def follows_trained(graph: Graph, trained: Collection[str] | None = None) -> dict[str, bool]:
    """Of every tensor whether it depends on a parameter that gets a gradient, and so has one itself.

    trained : these parameters, where they are not all that can be trained
    """
    if trained is None:
        trained = {n for n, p in graph.parameters.items() if p.trained}
    found = {graph.input: False}
    for node in graph.nodes:
        found[node.output] = any(found[i] for i in node.inputs) or any(p in trained for p in node.parameters)
    return found


def weight_costs(graph: Graph, trained: Collection[str] | None = None) -> tuple[WeightCost, ...]:
    """One entry per convolution and linear layer, in graph order. A layer whose input depends on no trained
    parameter needs no input gradient.

    trained : the parameters that get a gradient, where these are not all that can be trained
    """
    follows = follows_trained(graph, trained)
    costs = []
    for node in graph.nodes:
        upstream = any(follows[i] for i in node.inputs)
        positions = operator(node.op, node.name).weight_positions(
            [graph.shapes[i] for i in node.inputs], graph.shapes[node.output]
        )
        if positions:
            costs.append(WeightCost(node.parameters[0], node.name, positions, upstream))
    return tuple(costs)
