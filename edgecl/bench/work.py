"""What latency, energy and memory benches run: a training step or a prediction of a network, ours and dense peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..compiler import Optimizer, Plan, compile_plan
from ..engine import Model
from ..engine.native import NativeEngine
from ..errors import BadInput, unknown_name
from ..graph import Graph
from ..graph.builders import NETWORKS, build, builders
from ..methods.losses import cross_entropy

SHAPES = {"mlp": (1, 28, 28), "cnn": (1, 28, 28), "cnn1d": (6, 1, 128)}
IMAGE = (3, 32, 32)
CLASSES = 10
OURS, TORCH = "edgecl", "torch"
BASELINE = "edgecl, density 1"


@dataclass(frozen=True)
class Case:
    """One row to measure. engine : ``edgecl`` (compiled kernels) or ``torch`` (dense, eager)."""

    net: str
    batch: int
    density: float
    engine: str = OURS
    operation: str = "train"

    @property
    def name(self) -> str:
        return f"{self.engine}, density {self.density:g}"

    def row(self, threads: int) -> dict[str, Any]:
        return {
            "net": self.net, "operation": self.operation, "batch": self.batch, "density": self.density,
            "threads": threads, "engine": self.engine,
        }  # fmt: skip


def graph_of(net: str) -> Graph:
    """The network as the benches use it: 10 classes, float32 input."""
    if net not in NETWORKS:
        raise unknown_name("network", net, builders())
    return build(net, SHAPES.get(net, IMAGE), CLASSES, input_dtype="float32")


def densities_of(graph: Graph, density: float) -> dict[str, float]:
    return dict.fromkeys(graph.prunable(), density) if density < 1 else {}


def cases(nets: Sequence[str], batch: int, densities: Sequence[float], operations: Sequence[str]) -> list[Case]:
    """Every combination, the dense one first; dense torch too where the extra is installed."""
    if batch < 1:
        raise BadInput(f"A batch of {batch}.", "Give at least 1 sample.")
    for density in densities:
        if not 0 < density <= 1:
            raise BadInput(f"A density of {density:g}.", "Give shares of living weights above 0 and up to 1.")
    found = []
    for net in nets:
        for operation in operations:
            found += [Case(net, batch, d, OURS, operation) for d in sorted({1.0, *densities}, reverse=True)]
            if find_spec("torch") is not None:
                found.append(Case(net, batch, 1.0, TORCH, operation))
    return found


def make_call(case: Case, threads: int) -> Callable[[], object]:
    """A function that does the case's operation once, on random data from a fixed seed."""
    graph, rng = graph_of(case.net), np.random.default_rng(0)
    model = Model(graph, rng)
    x = rng.normal(size=(case.batch, *graph.input_shape)).astype(np.float32)
    y = rng.integers(0, CLASSES, case.batch)
    if case.engine == TORCH:
        from .torch_peer import torch_call

        return torch_call(graph, model, x, y, threads, case.operation == "train")
    densities = densities_of(graph, case.density)
    for name, density in densities.items():
        parameter = model[name]
        living = round(parameter.spec.size * density)
        parameter.set_pattern(np.sort(rng.choice(parameter.spec.size, living, replace=False)))
    engine = NativeEngine(model, _plan(case, graph, threads))
    if case.operation == "predict":
        predict = engine.predictor(case.batch)
        return lambda: predict(x)

    def step() -> None:
        logits = engine.forward({graph.input: x})["logits"]
        _, gradient = cross_entropy(logits, y)
        engine.backward({"logits": gradient})
        engine.step(0.01)

    return step


def _plan(case: Case, graph: Graph, threads: int) -> Plan:
    return compile_plan(
        graph, batch=case.batch, predict_batch=case.batch,
        densities=densities_of(graph, case.density), optimizer=Optimizer("sgd", 0.9, 1e-4), threads=threads,
    )  # fmt: skip


def planned_bytes(case: Case, threads: int) -> int | None:
    """What the plan says it adds to the resident set; None for torch, which plans nothing."""
    return sum(_plan(case, graph_of(case.net), threads).memory.values()) if case.engine == OURS else None
