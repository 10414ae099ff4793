"""A wider head for any graph: more classes, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadInput, EdgeclError
from .graph import Graph, Node, ParameterSpec, Shape
from .registry import operator


def head_of(graph: Graph) -> Node:
    """The node that says how many classes there are: the last linear layer or convolution before the logits, with
    nothing between them but operators of one input that keep the number of channels; or the weights of a cosine head.

    Raises `BadInput` where there is none.
    """
    makers = {node.output: node for node in graph.nodes}
    node = makers.get(graph.logits)
    while node is not None and "out" not in node.attributes:
        if node.op == "matmul" and (weights := _class_rows(graph, makers, node)) is not None:
            return weights
        source = _scaled(graph, makers, node)
        keeps = source is not None and (
            graph.shapes[source][0] == graph.shapes[node.output][0] or _is_row_of_logits(graph, node)
        )
        if not keeps:
            break
        node = makers.get(source or "")
    if node is None or "out" not in node.attributes:
        at = "its input" if node is None else f"'{node.name}' ({node.op})"
        raise BadInput(
            f"The logits of '{graph.name}' do not come from a linear layer or a convolution, but from {at}.",
            "End the network with a linear layer.",
        )
    return node


def _scaled(graph: Graph, makers: Mapping[str, Node], node: Node) -> str | None:
    """The one input of a node that is not a single number of the model's own; None where there are more."""
    rest = [i for i in node.inputs if i not in makers or makers[i].op != "parameter" or graph.shapes[i] != (1,)]
    return rest[0] if len(rest) == 1 else None


def _is_row_of_logits(graph: Graph, node: Node) -> bool:
    """[1, C] as [C]."""
    return node.op == "reshape" and graph.shapes[node.inputs[0]] == (1, *graph.shapes[node.output])


def _class_rows(graph: Graph, makers: Mapping[str, Node], product: Node) -> Node | None:
    """The weights [C, d] of the model's own whose turned rows a vector is multiplied with, None where it is other."""
    if graph.shapes[product.output] != (1, *graph.shapes[graph.logits]):
        return None
    node = makers.get(product.inputs[1])
    while node is not None and node.op in ("transpose", "unit_norm"):
        node = makers.get(node.inputs[0])
    found = node is not None and node.op == "parameter" and graph.shapes[node.output][:1] == graph.shapes[graph.logits]
    return node if found else None


def head_parameters(graph: Graph) -> tuple[str, ...]:
    """Names of the parameters that have a row per class, in graph order."""
    wider = widen_graph(graph, graph.classes + _step(graph))
    return tuple(n for n, spec in graph.parameters.items() if wider.parameters[n].shape != spec.shape)


def widen_graph(graph: Graph, classes: int) -> Graph:
    """``graph`` with a head of ``classes`` outputs. Parameters keep their names; those of the head get more rows.

    Raises `BadInput` when it has more already, or where more classes would change more than rows.
    """
    if classes < graph.classes:
        raise BadInput(f"'{graph.name}' has {graph.classes} classes and cannot have {classes}.", "Heads only grow.")
    return _resized(graph, classes)


def narrow_graph(graph: Graph, classes: int) -> Graph:
    """``graph`` with a head of only ``classes`` outputs, for a file that leaves classes out. Raises `BadInput`."""
    head = head_of(graph)
    if head.attributes.get("groups", 1) != 1:
        raise BadInput(f"The head '{head.name}' is a convolution in groups.", "Keep all classes.")
    return _resized(graph, classes)


def _resized(graph: Graph, classes: int) -> Graph:
    head = head_of(graph)
    shapes, parameters, nodes = dict(graph.shapes), dict(graph.parameters), []
    changed: set[str] = set()
    for node in graph.nodes:
        if node is head:
            node = replace(node, attributes={**node.attributes, **_of(node, classes)})
        elif _is_row_of_logits(graph, node) and not changed.isdisjoint(node.inputs):
            node = replace(node, attributes={**node.attributes, "shape": [classes]})
        elif changed.isdisjoint(node.inputs):
            nodes.append(node)
            continue
        nodes.append(node)
        shapes[node.output], specs = _derived(node, shapes, parameters)
        if shapes[node.output] != graph.shapes[node.output]:
            changed.add(node.output)
        parameters.update(specs)
    _refuse_more_than_rows(graph, shapes, parameters, classes)
    return replace(graph, nodes=tuple(nodes), shapes=shapes, parameters=parameters)


def _of(head: Node, classes: int) -> dict[str, Any]:
    """The attribute of a head that says how many classes there are."""
    if "out" in head.attributes:
        return {"out": classes}
    return {"shape": [classes, *head.attributes["shape"][1:]]}


def _derived(
    node: Node, shapes: Mapping[str, Shape], parameters: Mapping[str, ParameterSpec]
) -> tuple[Shape, dict[str, ParameterSpec]]:
    """(output shape, parameters) of a node by its operator's rules."""
    entry = operator(node.op, node.name)
    inputs = [shapes[name] for name in node.inputs]
    try:
        output = tuple(entry.shape(inputs, node.attributes))
    except EdgeclError as error:
        raise BadInput(f"With a wider head '{node.name}' is not possible: {error.cause}", error.remedy) from error
    specs = entry.parameters(inputs, node.attributes).values()
    return output, {
        name: replace(spec, name=name, prunable=parameters[name].prunable, frozen=parameters[name].frozen)
        for name, spec in zip(node.parameters, specs)
    }


def _refuse_more_than_rows(
    graph: Graph, shapes: Mapping[str, Shape], parameters: Mapping[str, ParameterSpec], classes: int
) -> None:
    for name, spec in graph.parameters.items():
        if parameters[name].shape[1:] != spec.shape[1:]:
            raise BadInput(f"A wider head would change '{name}' in more than rows.", "End with a linear layer.")
    if shapes[graph.logits] != (classes,):
        raise BadInput(f"The logits of '{graph.name}' would have shape {shapes[graph.logits]}.", "End with a vector.")


def _step(graph: Graph) -> int:
    """By how many classes the head can grow: a convolution in groups takes multiples of their number."""
    return int(head_of(graph).attributes.get("groups", 1))
