"""freeze_below: a node and all it depends on stay as they are; what is above goes on learning."""

from __future__ import annotations

from dataclasses import replace

from ..errors import BadInput, unknown_name
from .graph import Graph, Node


def freeze_below(graph: Graph, name: str) -> Graph:
    """``graph`` with the parameters of node ``name`` and of its ancestors frozen, statistics included.

    Raises `BadInput` for a name that is no node's, and where nothing would be left to learn.
    """
    names = [node.name for node in graph.nodes]
    if name not in names:
        raise unknown_name("node to freeze below", name, names)
    needed, frozen = {name}, set[str]()
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            frozen.update(node.parameters)
    # A frozen weight is no longer one that moves between living and dead.
    parameters = {
        n: replace(p, frozen=True, prunable=False) if n in frozen else p for n, p in graph.parameters.items()
    }
    if not any(p.trained for p in parameters.values()):
        raise BadInput(f"Below '{name}' lies all that could learn in '{graph.name}'.", "Freeze below an earlier node.")
    return replace(graph, parameters=parameters)


def keeps_statistics(graph: Graph, norm: Node) -> bool:
    """Whether a batch norm normalises by its running statistics in training too, and leaves them as they are."""
    return norm.op == "batch_norm" and all(graph.parameters[p].frozen for p in norm.parameters)
