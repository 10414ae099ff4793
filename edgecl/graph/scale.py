"""Mean and deviation by which a graph normalises its input: read, and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .graph import Graph

Scale = tuple[tuple[float, ...], tuple[float, ...]]


def input_scale(graph: Graph) -> Scale | None:
    """(mean, std) per channel of the node that normalises the input, or None where a graph has none."""
    node = next((n for n in graph.nodes if n.op == "normalise"), None)
    return None if node is None else (tuple(node.attributes["mean"]), tuple(node.attributes["std"]))


def with_input_scale(graph: Graph, mean: Sequence[float], std: Sequence[float]) -> Graph:
    """``graph`` whose input is normalised by ``mean`` and ``std`` [C] instead; parameters and shapes stay."""
    nodes = tuple(
        replace(n, attributes={**n.attributes, "mean": list(mean), "std": list(std)}) if n.op == "normalise" else n
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes)
