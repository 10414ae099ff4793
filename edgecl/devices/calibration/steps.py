"""Times whole training steps of our engine, operation by operation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...compiler import Optimizer, compile_plan, weight_costs
from ...engine import Model
from ...engine.native import NativeEngine
from ...engine.profile import operation_times
from ...graph import Graph
from ...methods.losses import cross_entropy
from ..kernel_rates import PHASES

OPTIMIZER = Optimizer(momentum=0.9, weight_decay=1e-4)
TIMED = {**dict(zip(("conv", "conv_input", "conv_weight"), PHASES)), "depth": "forward", "point": "forward"}
BOTH = ("depth_backward", "point_backward")  # gradients of input and weights in one pass over the maps


@dataclass(frozen=True)
class TimedStep:
    """A configuration and its median seconds: of the step, and of each operation.

    weights : {(node, phase): seconds}, half of a pass that makes two gradients to each
    maps, pools : seconds of all passes over maps, of all poolings
    """

    graph: Graph
    batch: int
    density: float
    threads: int
    seconds: float
    weights: dict[tuple[str, str], float]
    maps: float
    pools: float
    rounds: int

    @property
    def densities(self) -> dict[str, float]:
        return dict.fromkeys(self.graph.prunable(), self.density)

    @property
    def rest(self) -> float:
        """Seconds outside the operations: update, lists, loss, Python."""
        return self.seconds - sum(self.weights.values()) - self.maps - self.pools


def make_step(graph: Graph, batch: int, density: float, threads: int) -> tuple[NativeEngine, Callable[[], None]]:
    """An engine with uniform random patterns of ``density``, and one training step of it (SGD with momentum)."""
    rng = np.random.default_rng(0)
    model = Model(graph, rng)
    for name in graph.prunable():
        p = model[name]
        if density < 1:
            living = round(p.spec.size * density)
            p.set_pattern(np.sort(rng.choice(p.spec.size, living, replace=False)))
    plan = compile_plan(
        graph, batch=batch, densities=dict.fromkeys(graph.prunable(), density), optimizer=OPTIMIZER, threads=threads
    )
    engine = NativeEngine(model, plan)
    x = rng.normal(size=(batch, *graph.input_shape)).astype(np.float32)
    y = rng.integers(0, graph.classes, batch)

    def step() -> None:
        logits = engine.forward({graph.input: x})["logits"]
        _, gradient = cross_entropy(logits, y)
        engine.backward({"logits": gradient})
        engine.step(0.01)

    return engine, step


def time_step(
    graph: Graph, batch: int, density: float, threads: int, seconds: float = 0.1, rounds: int = 4
) -> TimedStep:
    """At least ``rounds`` steps and ``seconds`` after two to warm up; medians."""
    engine, step = make_step(graph, batch, density, threads)
    step()
    step()
    walls: list[float] = []
    spent: list[list[float]] = []
    start = time.perf_counter()
    before = operation_times(engine)
    while len(walls) < rounds or time.perf_counter() - start < seconds:
        t = time.perf_counter()
        step()
        walls.append(time.perf_counter() - t)
        after = operation_times(engine)
        spent.append([b.seconds - a.seconds for a, b in zip(before, after)])
        before = after
    middle = np.median(np.array(spent), axis=0)
    inner = {c.node: c.input_gradient for c in weight_costs(graph)}
    weights: dict[tuple[str, str], float] = {}
    maps = pools = 0.0
    for timing, value in zip(before, middle):
        if timing.kind in BOTH:
            phases = ("input", "weight") if inner[timing.node] else ("weight",)
            weights.update({(timing.node, phase): float(value) / len(phases) for phase in phases})
        elif timing.node:
            weights[timing.node, TIMED[timing.kind]] = float(value)
        elif timing.kind.startswith("pool"):
            pools += float(value)
        else:
            maps += float(value)
    wall = float(np.median(walls))
    return TimedStep(graph, batch, density, threads, wall, weights, maps, pools, len(walls))
