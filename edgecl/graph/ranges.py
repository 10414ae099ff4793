"""What values a tensor can take, as far as the graph itself says: bounds of activations, spreads of normalised maps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .graph import Graph, Node

Array = np.ndarray
Bounds = tuple[float, float]
UNBOUNDED = 1e30
FAR = 6.0  # deviations of a normalised map that are its range: Nagel et al. 2019 (arXiv 1906.04721), section 4.2
# operators whose results lie between the least and the largest of what they read
KEEPS = frozenset(
    ("avg_pool", "max_pool", "global_avg_pool", "reshape", "flatten", "transpose", "identity", "dropout", "slice",
     "reduce_mean", "reduce_max", "reduce_min", "expand")
)  # fmt: skip
# results of the others, whatever they read; None: as the node's attributes say
BOUNDED: Mapping[str, Bounds] = {
    "relu6": (0.0, 6.0), "relu": (0.0, math.inf), "sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0), "softmax": (0.0, 1.0), "softplus": (0.0, math.inf), "unit_norm": (-1.0, 1.0),
    "square": (0.0, math.inf), "abs": (0.0, math.inf), "sqrt": (0.0, math.inf),
}  # fmt: skip
ACTIVATIONS = ("relu", "relu6", "clip")


def bounds(graph: Graph, tensor: str) -> Bounds:
    """The least and the largest value that ``tensor`` can have by its operator's rule; infinite where it says none."""
    makers = {n.output: n for n in graph.nodes}
    node = makers.get(tensor)
    while node is not None and node.op in KEEPS:
        if node.op in ("avg_pool", "max_pool") and any(node.attributes["padding"]):  # zeros of the border
            low, high = bounds(graph, node.inputs[0])
            return min(low, 0.0), max(high, 0.0)
        node = makers.get(node.inputs[0])
    if node is None:
        return -math.inf, math.inf
    if node.op == "clip":
        low, high = (float(node.attributes[k]) for k in ("low", "high"))
        return (low if low > -UNBOUNDED else -math.inf), (high if high < UNBOUNDED else math.inf)
    return BOUNDED.get(node.op, (-math.inf, math.inf))


def normalised_range(graph: Graph, weights: Mapping[str, Array], tensor: str) -> tuple[Array, Array] | None:
    """(least, largest) per channel of a map that batch norms, sums, activations and pools make, float64 [C] each; None
    where it is made in another way.

    What a batch norm makes has its shift as mean and its scale as deviation over the samples that it was trained on:
    the range is `FAR` deviations around it. Of a sum the means and, as of independent terms, the variances are added.
    """
    low, high = bounds(graph, tensor)
    found = _spread({n.output: n for n in graph.nodes}, weights, tensor)
    if found is None or len(found[0]) != graph.shapes[tensor][0]:
        return None
    mean, deviation = found
    return np.clip(mean - FAR * deviation, low, high), np.clip(mean + FAR * deviation, low, high)


def _spread(makers: Mapping[str, Node], weights: Mapping[str, Array], tensor: str) -> tuple[Array, Array] | None:
    """Mean and deviation of each channel before activations; of a mean over positions those of a position."""
    node = makers.get(tensor)
    if node is None:
        return None
    if node.op == "batch_norm" and all(p in weights for p in node.parameters[:2]):
        scale, shift = (np.asarray(weights[p], np.float64).reshape(-1) for p in node.parameters[:2])
        return shift, np.abs(scale)
    if node.op in ACTIVATIONS or node.op in KEEPS:
        return _spread(makers, weights, node.inputs[0])
    if node.op == "add":
        terms = [t for t in (_spread(makers, weights, i) for i in node.inputs) if t is not None]
        if len(terms) == len(node.inputs) and len({len(mean) for mean, _ in terms}) == 1:
            means, deviations = (np.stack(values) for values in zip(*terms))
            return means.sum(0), np.sqrt(np.square(deviations).sum(0))
    return None
