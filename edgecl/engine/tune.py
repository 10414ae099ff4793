"""Blocking by measurement: whole training steps with each candidate, the fastest kept per operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..compiler import Optimizer, compile_plan
from ..compiler.blocking import Blocks, entry_key, static_blocks
from ..compiler.operations import geometry, weight_nodes
from ..graph import Graph
from .model import Model, Parameter
from .native import NativeEngine
from .profile import operation_times

CANDIDATES = (4, 8, 12, 16, 24, 32, 64, 128)
GAIN = 0.97  # an entry is replaced when its time falls below this share of the static table's


@dataclass(frozen=True)
class Tuned:
    """One layer: channels per block (forward, input gradient) of the static table and of the fastest run, and
    milliseconds of a step's forward and input-gradient passes with each.
    """

    node: str
    key: str
    static: Blocks
    best: Blocks
    static_ms: tuple[float, float]
    best_ms: tuple[float, float]


def tune(
    graph: Graph,
    batch: int,
    densities: Mapping[str, float],
    threads: int,
    rng: np.random.Generator,
    steps: int = 5,
    candidates: Sequence[int] = CANDIDATES,
) -> list[Tuned]:
    """Times ``steps`` training steps on random data per candidate, in turns; one row per layer with living weights.

    Layers alike in shape and density share a key; their times are added before the choice.
    """

    def prune(p: Parameter) -> None:
        density = densities.get(p.spec.name, 1.0)
        if density < 1:
            count = max(1, round(density * p.spec.size))
            p.set_pattern(np.sort(rng.choice(p.spec.size, count, replace=False)))

    model = Model(graph, rng, prune)
    optimizer = Optimizer(momentum=0.9)

    def plan(blocking: Mapping[str, Blocks] | None):
        return compile_plan(
            graph, batch=batch, densities=densities, threads=threads, optimizer=optimizer, blocking=blocking
        )

    base = plan(None)
    lanes, isa = base.program["lanes"], base.program["isa"]
    weights = {n.name: n for n in weight_nodes(graph)}

    def density_of(name: str) -> float:
        return densities.get(weights[name].parameters[0], 1.0)

    static: dict[str, Blocks] = {n: static_blocks(graph, weights[n], density_of(n), lanes) for n in weights}
    trials = [static]
    for size in candidates:
        trials.append({n: (clip(size, weights[n], graph, 0), clip(size, weights[n], graph, 1)) for n in weights})
    x = rng.normal(size=(batch, *graph.input_shape)).astype(np.float32)
    x = x if graph.input_dtype == "float32" else (rng.integers(0, 256, x.shape)).astype(graph.input_dtype)
    seed = (rng.normal(size=(batch, graph.classes)) / batch).astype(np.float32)
    keys = {n: entry_key(graph, n, density_of(n), lanes, isa) for n in weights}
    times: list[dict[str, list[float]]] = []  # per trial, by key: [forward, input gradient] milliseconds of a step
    engine = NativeEngine(model, base)
    for trial in trials:
        engine.replan(plan(trial))
        rows: dict[str, list[list[float]]] = {}
        for i in range(steps + 1):
            before = {(t.kind, t.node): t.seconds for t in operation_times(engine)}
            engine.forward({graph.input: x})
            engine.backward({"logits": seed})
            engine.step(0.0)
            if i == 0:
                continue
            spent: dict[str, list[float]] = {k: [0.0, 0.0] for k in keys.values()}
            for t in operation_times(engine):
                if t.kind in ("conv", "conv_input"):
                    spent[keys[t.node]][t.kind != "conv"] += t.seconds - before[t.kind, t.node]
            for key, pair in spent.items():
                rows.setdefault(key, []).append(pair)
        times.append({k: (np.median(np.array(v), axis=0) * 1e3).tolist() for k, v in rows.items()})
    tuned = []
    seen: set[str] = set()
    for name, key in keys.items():
        if key in seen:
            continue
        seen.add(key)
        best, best_ms = list(static[name]), list(times[0][key])
        for way in (0, 1):
            others = [t for t in range(len(trials)) if t == 0 or trials[t][name][way] != static[name][way]]
            fastest = min(others, key=lambda t: times[t][key][way])
            if times[fastest][key][way] < GAIN * times[0][key][way]:
                best[way], best_ms[way] = trials[fastest][name][way], times[fastest][key][way]
        first, second = times[0][key]
        tuned.append(Tuned(name, key, static[name], (best[0], best[1]), (first, second), (best_ms[0], best_ms[1])))
    return tuned


def clip(size: int, node, graph: Graph, way: int) -> int:
    """``size`` within the channels a block runs over: inputs of a group going forward, outputs going back."""
    g = geometry(graph, node)
    return max(1, min(size, (g[1] if way == 0 else g[0]) // g[8]))
