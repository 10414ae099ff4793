"""reference_pass: a graph run by the operators' numpy references, which every engine is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine.model import Model
from ..graph import Graph, Node, operator
from ..graph.freeze import keeps_statistics

Array = np.ndarray


def reference_pass(
    graph: Graph,
    model: Model,
    x: Array,
    seed: Array | None = None,
    keeps: Mapping[str, Array] | None = None,
    dtype: Any = np.float64,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
    """A training forward and, with ``seed``, the backward.

    Parameters
    ----------
    x : samples [n, ...];  seed : gradient of the logits [n, C]
    keeps : bool masks of dropout by node name
    dtype : of the whole computation

    Returns
    -------
    (tensors by name, gradients by parameter name over the full shape, batch statistics by norm node)
    """
    params = {n: p.dense().astype(dtype) for n, p in model.parameters.items()}
    tensors: dict[str, Array] = {graph.input: x.astype(dtype)}
    contexts: dict[str, Any] = {}
    stats: dict[str, Any] = {}
    for node in graph.nodes:
        local = _local(node, params, keeps)
        inputs = [tensors[i] for i in node.inputs]
        learns = not keeps_statistics(graph, node)
        y, contexts[node.name] = operator(node.op).forward(inputs, local, node.attributes, learns)
        tensors[node.output] = y
        if node.op == "batch_norm" and learns:
            stats[node.name] = {k: contexts[node.name][k] for k in ("mean", "var", "count")}
    if seed is None:
        return tensors, {}, stats
    flowing = {graph.logits: seed.astype(dtype)}
    grads: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        if node.output not in flowing:
            continue
        local = _local(node, params, keeps)
        to_inputs, to_params = operator(node.op).backward(
            flowing[node.output], contexts[node.name], local, node.attributes
        )
        for name, g in zip(node.inputs, to_inputs):
            if g is not None:
                flowing[name] = flowing[name] + g if name in flowing else g
        for full in node.parameters:
            found = to_params.get(full.rpartition(".")[2])
            if found is not None:  # a parameter that several nodes share gets the sum
                grads[full] = grads[full] + found if full in grads else found
    return tensors, grads, stats


def _local(node: Node, params: Mapping[str, Array], keeps: Mapping[str, Array] | None) -> dict[str, Array]:
    local = {n.rpartition(".")[2]: params[n] for n in node.parameters}
    if node.op == "dropout" and keeps is not None:
        local["keep"] = keeps[node.name]
    return local
