"""Rates of our kernels on this machine: timed steps of `networks`, and the fit of `kernel_rates` to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...graph import Graph
from ..cost import footprint, padding, vectors, working_set
from ..fit import fit_constants
from ..kernel_rates import CLASSES, KNOTS, Rates, classify, neighbours, weights_at
from ..workload import Operation, operations
from .effort import LEAST as LEAST_SECONDS
from .effort import ROUNDS, Case
from .steps import TimedStep, time_step

SMOOTHNESS = 0.05  # pull between adjacent knots, against 1 for a row that takes a tenth of its step
LEAST = 2e-7  # seconds below which a timing is noise
Bandwidth = Callable[[int, float], float]  # threads, working set in bytes -> bytes/s


@dataclass(frozen=True)
class KernelFit:
    """Rates by class; of a step besides its operations: fixed seconds, seconds for each trained tensor, bytes/s of
    feeding the input, traffic of the update of dense and sparse tensors; and the efficiency of all threads."""

    rates: dict[tuple[str, str], Rates]
    step_seconds: float
    tensor_seconds: float
    feed_rate: float
    update_traffic: float
    sparse_update_traffic: float
    parallel: float


def timed_steps(
    cases: Sequence[Case],
    graphs: Mapping[str, Graph],
    passes: int = 2,
    progress: Callable[[str], None] = lambda name: None,
) -> list[TimedStep]:
    """A timed step of every case.

    Each is timed in ``passes`` passes well apart and the faster kept: a neighbour's burst does not last that long.
    """
    best: dict[Case, TimedStep] = {}
    for turn in range(passes):
        for name, graph in graphs.items():
            mine = [c for c in cases if c.network == name]
            if mine:
                progress(f"{name}, pass {turn + 1} of {passes}")
            for case in mine:
                step = time_step(graph, case.batch, case.density, case.threads, seconds=LEAST_SECONDS, rounds=ROUNDS)
                if case not in best or step.seconds < best[case].seconds:
                    best[case] = step
    return list(best.values())


def fastest(steps: Sequence[TimedStep]) -> float:
    """FLOP/s of the fastest few operations with one thread: a lower bound of the FMA peak."""
    rates = []
    for s in steps:
        if s.threads == 1:
            for o in operations(s.graph, s.batch, "train", s.densities):
                if (o.name, o.phase) in s.weights and s.weights[o.name, o.phase] > 1e-4:
                    rates.append(padding(o.rows, 16) * o.flops / s.weights[o.name, o.phase])
    return float(np.quantile(rates, 0.97)) if rates else 0.0


def fit_kernels(
    steps: Sequence[TimedStep], peak: Callable[[int], float], bandwidth: Bandwidth, source: str
) -> KernelFit:
    """``peak`` FLOP/s by threads and ``bandwidth`` are the machine's; ``source`` goes into every rate."""
    most = max(s.threads for s in steps)
    parallel = _parallel(steps, most)
    rows: dict[tuple[str, str], list[tuple[np.ndarray, float, float]]] = {c: [] for c in CLASSES}
    rest: list[tuple[np.ndarray, float, float]] = []
    for s in steps:
        rate = peak(s.threads) * (parallel if s.threads > 1 else 1.0)
        work = operations(s.graph, s.batch, "train", s.densities)
        speed = bandwidth(s.threads, working_set(work))
        one, many = float(s.threads == 1), float(s.threads > 1)
        groups: dict[tuple[str, str], list[Operation]] = {}
        for o in work:
            groups.setdefault(classify(o), []).append(o)
            if (o.name, o.phase) in s.weights:
                kind, _ = classify(o)
                seconds = s.weights[o.name, o.phase]
                lanes = padding(o.rows, 16)
                knots = lanes * o.flops / rate * weights_at(kind, o.density, o.positions)
                terms = np.concatenate([knots, [o.bytes / speed, one * 1e-6, many * 1e-6]])
                rows[classify(o)].append((terms, seconds, seconds / s.seconds))
        for kind, seconds in (("maps", s.maps), ("pool", s.pools)):
            members = [o for o in groups.get((kind, "all"), []) if not o.absorbed]
            if members and seconds:
                moved = sum(o.read + o.written for o in members)
                starts = len(members) * 1e-6
                lanes = (vectors if kind == "pool" else padding)(s.batch, 16)
                terms = np.array([lanes * moved / rate, moved / speed, one * starts, many * starts])
                rows[kind, "all"].append((terms, seconds, seconds / s.seconds))
        updates = groups["update", "all"]
        fed, speed = sum(o.written for o in groups["feed", "all"]), bandwidth(s.threads, footprint(work))
        moved_by = [sum(o.bytes for o in updates if (o.density < 1) == sparse) / speed for sparse in (False, True)]
        terms = np.array([1e-4, len(updates) * 1e-6, fed / 1e9, *moved_by])
        rest.append((terms, max(s.rest, 1e-6), s.rest / s.seconds))
    rates = {key: _rates(key, found, source) for key, found in rows.items()}
    fixed, tensor, feed, traffic, sparse_traffic = (float(v) for v in _fit(rest))
    return KernelFit(rates, fixed * 1e-4, tensor * 1e-6, 1e9 / feed, traffic, sparse_traffic, parallel)


def _parallel(steps: Sequence[TimedStep], most: int) -> float:
    """Median over the larger operations of time(1) / (most * time(most)) at equal configuration."""
    if most == 1:
        return 1.0
    one = {(id(s.graph), s.batch, s.density): s for s in steps if s.threads == 1}
    found = []
    for s in steps:
        alone = one.get((id(s.graph), s.batch, s.density))
        if s.threads == most and alone is not None:
            found += [t / (most * s.weights[k]) for k, t in alone.weights.items() if s.weights[k] > 2e-4]
    return min(float(np.median(found)), 1.0) if found else 0.9


def _fit(rows: Sequence[tuple[np.ndarray, float, float]], pairs: Sequence[tuple[int, int]] = ()) -> np.ndarray:
    terms = np.array([r[0] for r in rows]) + 1e-18
    seconds = np.maximum([r[1] for r in rows], LEAST)
    weights = np.clip([10 * r[2] for r in rows], 0.01, 4)  # an operation counts by its share of its step
    return fit_constants(terms, seconds, weights, pairs, SMOOTHNESS)


def _rates(key: tuple[str, str], rows: Sequence[tuple[np.ndarray, float, float]], source: str) -> Rates:
    kind, phase = key
    densities, positions = KNOTS[kind]
    count = len(densities) * len(positions)
    if not rows:
        raise ValueError(f"no timing of {kind} {phase}")
    found = _fit(rows, neighbours(kind))
    grid = np.clip(1 / found[:count], 1e-3, 1e4).reshape(len(densities), len(positions))
    traffic, one, many = found[count:]
    used = [any(r[0][count + i] > 0 for r in rows) for i in (1, 2)]
    starts = (one if used[0] else many, many if used[1] else one)
    return Rates(
        tuple(tuple(float(f"{v:.4g}") for v in row) for row in grid),
        float(f"{traffic:.4g}"),
        (float(f"{starts[0] * 1e-6:.3g}"), float(f"{starts[1] * 1e-6:.3g}")),
        "measured",
        source,
    )
