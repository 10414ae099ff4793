"""Batch normalisations folded into the layers before them: what stands still needs no node of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, ParameterSpec

Array = np.ndarray
FOLDS_INTO = ("conv2d", "linear")


def fold_norms(
    graph: Graph, weights: Mapping[str, Array], consume: bool = False
) -> tuple[Graph, dict[str, Array]]:
    """The graph without the batch norms that alone read a convolution or linear layer, and its weights.

    w' = w * g, b' = (b - mean) * g + shift with g = scale / sqrt(var + eps), in float64. The layer's output takes the
    place of the norm's. weights : dense, all that are folded among them;  consume : fold them where they are
    (float32, writable), so that nothing is held twice
    """
    folds = _foldable(graph)
    norms = {layer: norm for norm, layer in folds.items()}
    nodes: list[Node] = []
    specs: dict[str, ParameterSpec] = {}
    values, renamed = dict(weights), dict[str, str]()
    for node in graph.nodes:
        if node.name in folds:
            renamed[node.output] = folds[node.name]
            continue
        node = replace(node, inputs=tuple(renamed.get(i, i) for i in node.inputs))
        if node.name in norms:
            norm = next(n for n in graph.nodes if n.name == norms[node.name])
            node, spec, folded = _folded(graph, node, norm, weights, consume)
            specs[spec.name] = spec
            for name in norm.parameters:
                values.pop(name, None)
            values.update(folded)
        specs.update({p: graph.parameters[p] for p in node.parameters if p in graph.parameters})
        nodes.append(node)
    order = [p for n in nodes for p in n.parameters]
    notes = {k: renamed.get(v, v) if k == "features" else v for k, v in graph.notes.items()}
    made = replace(
        graph, nodes=tuple(nodes), logits=renamed.get(graph.logits, graph.logits), notes=notes,
        shapes={k: s for k, s in graph.shapes.items() if k not in renamed},
        parameters={p: specs[p] for p in dict.fromkeys(order)},
    )  # fmt: skip
    return made, {k: v for k, v in values.items() if k in made.parameters}


def _foldable(graph: Graph) -> dict[str, str]:
    """Names of norms that can be folded, each with that of its layer."""
    makers = {n.output: n for n in graph.nodes}
    readers = Counter(i for n in graph.nodes for i in n.inputs)
    users = Counter(p for n in graph.nodes for p in n.parameters)
    found = {}
    for node in graph.nodes:
        layer = makers.get(node.inputs[0]) if node.op == "batch_norm" else None
        if layer is None or layer.op not in FOLDS_INTO or readers[layer.output] != 1 or layer.output == graph.logits:
            continue
        if layer.op == "linear" and len(graph.shapes[layer.output]) != 1:  # its rows are no channels
            continue
        if all(users[p] == 1 for p in (*layer.parameters, *node.parameters)):
            found[node.name] = layer.name
    return found


def _folded(
    graph: Graph, layer: Node, norm: Node, weights: Mapping[str, Array], in_place: bool
) -> tuple[Node, ParameterSpec, dict[str, Array]]:
    """The layer with a bias, the bias's spec, weight and bias."""
    weight = layer.parameters[0]
    spec, bias = graph.parameters[weight], f"{layer.name}.bias"
    scale, shift, mean, var = (np.asarray(weights[p], np.float64).reshape(-1) for p in norm.parameters)
    factor = scale / np.sqrt(var + float(norm.attributes["eps"]))
    own = np.asarray(weights[layer.parameters[1]], np.float64).reshape(-1) if len(layer.parameters) > 1 else 0.0
    rows = np.asarray(weights[weight]).reshape(spec.shape[0], -1)
    scaled = rows if in_place else np.empty(rows.shape, np.float32)
    for row, by, out in zip(rows, factor, scaled):  # one at a time: doubles of a whole layer would be twice its bytes
        out[:] = row.astype(np.float64) * by
    values = {weight: scaled.reshape(spec.shape), bias: ((own - mean) * factor + shift).astype(np.float32)}
    made = ParameterSpec(bias, (spec.shape[0],), "bias", "bias_uniform", spec.fan_in, frozen=spec.frozen)
    return replace(layer, parameters=(weight, bias), attributes={**layer.attributes, "bias": True}), made, values
