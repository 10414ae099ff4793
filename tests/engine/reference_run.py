"""A graph run by the operators' numpy references: what both engines are compared with."""

import numpy as np

from edgecl.graph import operator
from edgecl.graph.freeze import keeps_statistics


def reference_pass(graph, model, x, seed=None, keeps=None, dtype=np.float64):
    """Training forward and, with ``seed`` on the logits, backward. ``keeps``: dropout masks by node name.

    Returns (tensors by name, gradients by parameter name over the full shape, batch statistics by norm node).
    """
    params = {n: p.dense().astype(dtype) for n, p in model.parameters.items()}
    tensors, contexts, stats = {graph.input: x.astype(dtype)}, {}, {}
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
    grads = {}
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
            g = to_params.get(full.rpartition(".")[2])
            if g is not None:  # a parameter that several nodes share gets the sum
                grads[full] = grads[full] + g if full in grads else g
    return tensors, grads, stats


def _local(node, params, keeps):
    local = {n.rpartition(".")[2]: params[n] for n in node.parameters}
    if node.op == "dropout":
        local["keep"] = keeps[node.name]
    return local
