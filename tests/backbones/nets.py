"""A small network with weights as if it were pretrained, and pictures of four classes."""

from __future__ import annotations

import numpy as np

from edgecl.engine.model import Model
from edgecl.graph import Graph, GraphBuilder
from edgecl.network import Network

SHAPE = (3, 12, 12)
SMALL = {"method": "er", "batch": 8, "memory": 16, "lr": 0.05, "seed": 4, "executor": "native"}


def graph() -> Graph:
    """Stem, a residual block, ReLU6, mean, linear layer; every layer normalised."""
    g = GraphBuilder("small", SHAPE, "uint8")
    x = g.add("normalise", [g.input], name="in", mean=[127.0] * 3, std=[64.0] * 3)

    def unit(x: str, name: str, out: int, act: str | None = "relu6") -> str:
        x = g.add("conv2d", [x], name=name, out=out, kernel=[3, 3], stride=[1, 1], padding=[1, 1], prunable=True)
        x = g.add("batch_norm", [x], name=f"{name}_norm")
        return x if act is None else g.add(act, [x], name=f"{name}_act")

    x = unit(x, "stem", 8)
    y = unit(unit(x, "first", 8), "second", 8, None)
    x = unit(g.add("add", [x, y], name="sum"), "last", 16)
    g.notes["features"] = g.add("global_avg_pool", [x], name="pooled")
    return g.build(g.add("linear", ["pooled"], name="logits", out=5, bias=True))


def pretrained(seed: int = 0) -> Network:
    """Random weights; statistics of batch norms are those of pictures, as training would have left them."""
    made, rng = graph(), np.random.default_rng(seed)
    model = Model(made, rng)
    weights = {n: model[n].dense().copy() for n in made.parameters}
    for name in weights:
        if name.endswith(("_norm.scale", "_norm.shift")):
            weights[name] = rng.uniform(0.5, 1.5, weights[name].shape).astype(np.float32)
    from edgecl.graph.registry import operator

    tensors = {made.input: np.concatenate([pictures(u, 16, 9) for u in range(4)])}
    for node in made.nodes:
        local = {p.rpartition(".")[2]: weights[p] for p in node.parameters}
        training = node.op == "batch_norm"
        inputs = [tensors[i] for i in node.inputs]
        tensors[node.output], context = operator(node.op).forward(inputs, local, node.attributes, training)
        if training:
            weights[node.parameters[2]] = context["mean"].astype(np.float32)
            weights[node.parameters[3]] = context["var"].astype(np.float32)
    return Network(made, weights)


def pictures(unit: int, count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 12, 12] of one class: stripes of its own width in noise."""
    rng = np.random.default_rng([seed, unit])
    stripes = 127 + 80 * np.sin(np.arange(12) * (0.6 + 0.7 * unit))[None, None, :, None]
    return np.clip(stripes + rng.normal(0, 25, (count, *SHAPE)), 0, 255).astype(np.uint8)
