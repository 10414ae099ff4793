"""One training step of our engine on a benchmark network, for the benches that compare steps."""

from __future__ import annotations

import numpy as np
from samples import SAMPLE, SAMPLES

from edgecl import Network
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import Graph
from edgecl.graph.builders import build
from edgecl.methods.losses import cross_entropy
from edgecl.sparsity.allocation import allocate


def sparse_weights(graph: Graph) -> list[str]:
    """The weights the benches make sparse: all convolutions, shortcuts included, but the stem and depthwise ones."""
    convolutions = [n for n in graph.nodes if n.op == "conv2d"]
    return [n.parameters[0] for n in convolutions[1:] if n.attributes["groups"] == 1]


def random_network(graph: Graph) -> Network:
    """The graph with weights as they start."""
    model = Model(graph, np.random.default_rng(0))
    return Network(graph, {name: p.dense() for name, p in model.parameters.items()})


def random_masks(graph: Graph, density: float, allocation: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Uniform random patterns: int32 sorted flat positions by weight; ``allocation`` shares the density out."""
    specs = [graph.parameters[name] for name in sparse_weights(graph)]
    shares = allocate(allocation, specs, density)
    return {
        s.name: np.sort(rng.choice(s.size, round(s.size * shares[s.name]), replace=False)).astype(np.int32)
        for s in specs
    }


class Step:
    """Forward, cross-entropy, backward, batch norm and SGD with momentum on random data.

    keep : share of the living weights that get gradients;  allocation : ``uniform`` or ``erk``
    masks : {weight: positions} to use instead of drawn ones
    """

    def __init__(
        self,
        net: str,
        batch: int,
        density: float,
        keep: float = 1.0,
        threads: int = 1,
        allocation: str = "uniform",
        masks: dict[str, np.ndarray] | None = None,
        activations: str = "float32",
    ) -> None:
        rng = np.random.default_rng(0)
        shape, classes = SAMPLES.get(net, SAMPLE)
        self.graph = build(net, shape, classes, input_dtype="float32")
        if masks is None:
            masks = random_masks(self.graph, density, allocation, rng) if density < 1 else {}
        self.masks = masks
        found = masks

        def prune(p) -> None:
            if p.spec.name in found:
                p.set_pattern(found[p.spec.name])

        self.model = Model(self.graph, rng, prune)
        plan = compile_plan(
            self.graph,
            batch=batch,
            densities={name: m.size / self.model[name].spec.size for name, m in masks.items()},
            optimizer=Optimizer(momentum=0.9, weight_decay=1e-4),
            threads=threads,
            activations=activations,
        )
        self.engine = NativeEngine(self.model, plan)
        if keep < 1:
            for name in masks:
                living = self.model[name].living
                kept = rng.choice(living, round(living * keep), replace=False)
                self.engine.set_gradient_mask(name, np.sort(kept))
        self.feeds = {self.graph.input: rng.normal(size=(batch, *shape)).astype(np.float32)}
        self.y = rng.integers(0, classes, batch)

    def __call__(self) -> None:
        logits = self.engine.forward(self.feeds)["logits"]
        _, gradient = cross_entropy(logits, self.y)
        self.engine.backward({"logits": gradient})
        self.engine.step(0.05)
