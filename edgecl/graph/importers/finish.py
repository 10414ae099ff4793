"""First and last node of an imported graph: normalised input, logits, a fresh head."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import BadInput
from ..builder import GraphBuilder
from ..graph import Graph, Node, ParameterSpec
from .emit import Emit
from .foreign import Data, Imported, Value


def start_import(name: str, shape: Sequence[int], dtype: str, mean: Any, std: Any) -> tuple[GraphBuilder, str]:
    """The builder and the normalised input. Of ``name`` what may be part of a file's name stays."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60].strip("._-") or "imported"
    builder = GraphBuilder(name, tuple(shape), dtype)
    channels = shape[0] if shape else 1

    def of_each(value: Any, default: float) -> list[float]:
        value = default if value is None else value
        return [float(value)] * channels if isinstance(value, (int, float)) else [float(v) for v in value]

    tensor = builder.add(
        "normalise", [builder.input], name="input_norm", mean=of_each(mean, 0.0), std=of_each(std, 1.0), pad=0
    )
    return builder, tensor


def finish_import(emit: Emit, outputs: Mapping[str, Value], classes: int | None, notes: dict[str, Any]) -> Imported:
    """The graph that ends in the first of ``outputs`` (by their names in the file) that depends on the input."""
    real = {name: o for name, o in outputs.items() if isinstance(o, Data)}
    constants = {name: o for name, o in outputs.items() if isinstance(o, np.ndarray)}
    builder = emit.g
    if not real:
        raise BadInput("No floating path leads from the input to an output.", "Export the network with its output.")
    first = next(iter(real))
    if all(n.output != real[first].name or n.op in ("normalise", "parameter") for n in builder.nodes):
        named = builder.add("identity", [real[first].name], name=emit.name("output"))
        real[first] = replace(real[first], name=named)
    found = [{"name": name, "tensor": o.name, "batch": o.batch} for name, o in real.items()]
    notes = {**notes, "outputs": found}
    linear = next((n for n in reversed(builder.nodes) if n.op == "linear"), None)
    if linear is not None and len(builder.shapes[linear.inputs[0]]) == 1:
        builder.notes["features"] = linear.inputs[0]
    graph = _pruned(builder.build(real[first].name), [o.name for o in real.values()])
    if graph.notes.get("features") not in graph.shapes:
        graph = replace(graph, notes={k: v for k, v in graph.notes.items() if k != "features"})
    weights = {k: v for k, v in emit.weights.items() if k in graph.parameters}
    graph, weights = _without_idle_biases(graph, weights, {o.name for o in real.values()})
    graph = _ends_dense(graph)
    if classes is not None:
        graph, weights = fresh_head(graph, weights, classes)
        notes["outputs"] = [{"name": "logits", "tensor": graph.logits, "batch": 0}]
    return Imported(graph, weights, notes, constants)


def _pruned(graph: Graph, outputs: Sequence[str]) -> Graph:
    """Without nodes that no output needs."""
    needed, nodes = {graph.logits, *outputs}, []
    for node in reversed(graph.nodes):
        if node.output in needed or node.op == "normalise":
            needed.update(node.inputs)
            nodes.append(node)
    nodes.reverse()
    parameters = {p for n in nodes for p in n.parameters}
    return replace(
        graph, nodes=tuple(nodes), shapes={k: s for k, s in graph.shapes.items() if k in needed or k == graph.input},
        parameters={k: p for k, p in graph.parameters.items() if k in parameters},
    )  # fmt: skip


def _without_idle_biases(
    graph: Graph, weights: dict[str, np.ndarray], outputs: set[str]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """Without biases that a batch normalisation takes away again: they move its running mean instead.

    Such a bias never learns anything, and summing a map around it instead of around zero costs digits.
    """
    producer = {n.output: n for n in graph.nodes}
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for i in node.inputs:
            readers[i] = readers.get(i, 0) + 1
    weights, changed, gone = dict(weights), {}, set()
    for norm in graph.nodes:
        if norm.op != "batch_norm":
            continue
        source, chain = producer.get(norm.inputs[0]), [norm.inputs[0]]
        while (
            source is not None
            and source.op == "reshape"
            and graph.shapes[source.output][0] == graph.shapes[source.inputs[0]][0]
        ):
            chain.append(source.inputs[0])
            source = producer.get(source.inputs[0])
        if source is None or source.op not in ("conv2d", "conv_transpose2d") or not source.attributes["bias"]:
            continue
        bias, mean = source.parameters[1], norm.parameters[2]
        shared = sum(bias in n.parameters for n in graph.nodes) > 1
        if shared or any(readers[t] != 1 or t in outputs for t in chain):
            continue
        weights[mean] = weights[mean] - weights.pop(bias)
        gone.add(bias)
        changed[source.name] = replace(
            source, parameters=source.parameters[:1], attributes={**source.attributes, "bias": False}
        )
    nodes = tuple(changed.get(n.name, n) for n in graph.nodes)
    return replace(graph, nodes=nodes, parameters={k: p for k, p in graph.parameters.items() if k not in gone}), weights


def _ends_dense(graph: Graph) -> Graph:
    """The first layer with weights and the last one are not sparse by default, as in the networks in the box."""
    layers = [n.parameters[0] for n in graph.nodes if n.parameters and graph.parameters[n.parameters[0]].prunable]
    ends = {layers[0], layers[-1]} if layers else set()
    parameters = {k: replace(p, prunable=False) if k in ends else p for k, p in graph.parameters.items()}
    return replace(graph, parameters=parameters)


def fresh_head(graph: Graph, weights: dict[str, np.ndarray], classes: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """A new linear layer of ``classes`` outputs in place of the last one, with whatever stood behind that dropped."""
    linear = next((n for n in reversed(graph.nodes) if n.op == "linear"), None)
    if linear is None or len(graph.shapes[linear.inputs[0]]) != 1:
        raise BadInput(
            f"'{graph.name}' does not end in a linear layer on one vector, so it has no head to replace.",
            "Import it without a number of classes.",
        )
    features = graph.shapes[linear.inputs[0]]
    behind = {linear.output}
    for node in graph.nodes:
        if any(i in behind for i in node.inputs):
            behind.add(node.output)
    if graph.logits not in behind:
        raise BadInput(
            f"The last linear layer '{linear.name}' is not the head of '{graph.name}'.", "Import it as it is."
        )
    nodes = [n for n in graph.nodes if n.output not in behind]
    names = (f"{linear.name}.weight", f"{linear.name}.bias")
    specs = {
        names[0]: ParameterSpec(names[0], (classes, features[0]), "weight", "kaiming_uniform", features[0]),
        names[1]: ParameterSpec(names[1], (classes,), "bias", "bias_uniform", features[0]),
    }
    nodes.append(Node("linear", linear.name, linear.inputs, linear.output, names, {"out": classes, "bias": True}))
    kept = {p for n in nodes for p in n.parameters} - set(names)
    shapes = {k: s for k, s in graph.shapes.items() if k not in behind}
    shapes[linear.output] = (classes,)
    made = replace(
        graph, logits=linear.output, nodes=tuple(nodes), shapes=shapes,
        parameters={**{k: p for k, p in graph.parameters.items() if k in kept}, **specs},
        notes={**graph.notes, "features": linear.inputs[0]},
    )  # fmt: skip
    bound = 1 / math.sqrt(features[0])
    rng = np.random.default_rng(0)
    fresh = {
        names[0]: rng.uniform(-bound, bound, (classes, features[0])),
        names[1]: rng.uniform(-bound, bound, classes),
    }
    return made, {
        **{k: v for k, v in weights.items() if k in kept},
        **{k: v.astype(np.float32) for k, v in fresh.items()},
    }
