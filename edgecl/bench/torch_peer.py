"""The dense peer: the same network in eager torch with autograd and torch.optim, nothing of edgecl in its step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..engine import Model
from ..errors import require
from ..graph import Graph
from ..graph.registry import operator


def torch_call(
    graph: Graph, model: Model, x: np.ndarray, y: np.ndarray, threads: int, train: bool
) -> Callable[[], None]:
    """A step (SGD, momentum 0.9, weight decay 1e-4) or a prediction on float32 x [B, ...], labels y [B].

    Each node is the torch function of its registry entry, in the graph's order: what an nn.Module's forward calls.
    """
    torch = require("torch", "torch")
    torch.set_num_threads(threads)
    leaves = {}
    for name, p in model.parameters.items():
        leaves[name] = torch.from_numpy(p.dense(p.values).copy()).requires_grad_(p.spec.trained and train)
    nodes = [
        (
            operator(n.op).torch,
            n.inputs,
            {f.rpartition(".")[2]: leaves[f] for f in n.parameters},
            n.attributes,
            n.output,
        )
        for n in graph.nodes
    ]
    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def forward():
        tensors = {graph.input: images}
        for function, inputs, params, attributes, output in nodes:
            tensors[output] = function([tensors[i] for i in inputs], params, attributes, train)
        return tensors[graph.logits]

    if not train:

        def predict() -> None:
            with torch.no_grad():
                forward()

        return predict
    trained = [leaf for leaf in leaves.values() if leaf.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(forward(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
