"""Cuts: a graph in two at a tensor that every way from the input to the logits passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import BadInput, unknown_name
from .builder import GraphBuilder
from .graph import Graph, Node

LATENT = "latent"  # the node that takes a tail's input


def cut_points(graph: Graph) -> tuple[str, ...]:
    """Tensors that every way from the input to the logits passes (its dominators), in order.

    The normalised input and the logits are none: on one side of them there would be nothing.
    """
    nodes = _needed(graph, graph.logits)
    last: dict[str, int] = {}
    for i, node in enumerate(nodes):
        last.update(dict.fromkeys(node.inputs, i))
    found, open_now, follows = [], set[str](), {graph.input}
    for i, node in enumerate(nodes):
        if follows.isdisjoint(node.inputs):  # follows from parameters alone: either side may have it
            continue
        follows.add(node.output)
        open_now = {t for t in open_now if last[t] > i} | {node.output}
        if open_now == {node.output} and node.output != graph.logits and node.op != "normalise":
            found.append(node.output)
    return tuple(found)


def check_cut(graph: Graph, tensor: str) -> None:
    """Raises `BadInput` unless ``tensor`` is among the `cut_points`, naming the nearest two."""
    points = cut_points(graph)
    if tensor in points:
        return
    made = [n.output for n in graph.nodes]
    if tensor not in made:
        raise unknown_name("tensor to cut at", tensor, points)
    at = made.index(tensor)
    before = [p for p in points if made.index(p) < at][-1:]
    after = [p for p in points if made.index(p) > at][:1]
    near = " or ".join(f"'{p}'" for p in (*before, *after)) or "no tensor at all"
    raise BadInput(
        f"'{graph.name}' cannot be cut at '{tensor}': a way from the input to the logits goes past it.",
        f"The nearest tensors that all ways pass: {near}. `edgecl import MODEL --list-cuts` lists them.",
    )


def prefix_of(graph: Graph, tensor: str) -> Graph:
    """What makes ``tensor``: a graph whose output it is. All parameters are frozen."""
    check_cut(graph, tensor)
    made = GraphBuilder.on(graph, tensor).build(tensor)
    parameters = {n: replace(p, frozen=True, prunable=False) for n, p in made.parameters.items()}
    return replace(made, parameters=parameters, notes={})


def tail_of(graph: Graph, tensor: str, dtype: str, mean: Sequence[float], std: Sequence[float]) -> Graph:
    """What follows ``tensor``: a graph that takes it in ``dtype``, normalised by ``mean`` and ``std`` per channel."""
    check_cut(graph, tensor)
    made = {n.output for n in _needed(graph, tensor)}
    rest = [n for n in _needed(graph, graph.logits) if n.output not in made]
    here = {n.output for n in rest}
    beside = {i for n in rest for i in n.inputs if i not in here and i != tensor}  # parameters that both sides read
    rest = [n for n in graph.nodes if n.output in here or n.output in _makers(graph, beside)]
    g = GraphBuilder(graph.name, graph.shapes[tensor], dtype)
    taken = {n.name for n in rest}
    g.input = _free("input", taken)
    g.shapes = {g.input: graph.shapes[tensor]}
    first = g.add("normalise", [g.input], name=_free(LATENT, taken | {g.input}), mean=list(mean), std=list(std), pad=0)
    g.nodes += [replace(n, inputs=tuple(first if i == tensor else i for i in n.inputs)) for n in rest]
    g.shapes |= {n.output: graph.shapes[n.output] for n in rest}
    used = {p for n in rest for p in n.parameters}
    g.parameters = {k: p for k, p in graph.parameters.items() if k in used}
    features = graph.features
    features = first if features == tensor else features
    g.notes = {"features": features} if features in g.shapes and features != g.input else {}
    return g.build(graph.logits)


def _needed(graph: Graph, tensor: str) -> list[Node]:
    """Nodes that ``tensor`` depends on, in order."""
    needed, nodes = {tensor}, []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            nodes.append(node)
    return nodes[::-1]


def _makers(graph: Graph, tensors: set[str]) -> set[str]:
    return {n.output for tensor in tensors for n in _needed(graph, tensor)}


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
