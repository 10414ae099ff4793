"""Bytes that a run or a learner adds to the resident set, by purpose, before anything is allocated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..budget.miro import HELD_OUT, LARGEST_REDUCTION, LEAST, REDUCTION, SHARES
from ..budget.planner import RunPlan
from ..compiler import Plan
from ..config import Config
from ..graph import Graph
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from ..methods import Method
from ..sparsity import SparseTraining
from .configured import configured_sparsity, engine_plan, field_bytes, memory_slots, trains_at

APPEND = 256  # samples appended to the store at a time
MOST_PENDING_SWAPS = 256
STORE_BYTES = 650_000  # pages of LMDB and of the store's code, a mover's stack: measured, see tests
OTHER_BYTES = 400_000  # allocator slack and small arrays; code was touched before: measured, see tests
NODE_BYTES = 9_500  # of a node of the graph: the plan's and the engine's objects, measured (bench/imported_memory.py)
HELD_OUT_RATE = 200  # samples that score a trial of a learning rate, at most
SLOT_BYTES = 40  # class, id, subject, version and order of a memory slot


def predicted_growth(
    config: Config,
    plan: Plan,
    method: Method,
    sparse: SparseTraining,
    spec: SampleSpec,
    classes: int,
    samples: int,
) -> dict[str, int]:
    """Bytes by purpose. ``samples``: the largest task's; ``classes``: of the head."""
    slots, needs = memory_slots(config, method), method.needs
    width = sum(field_bytes(method, classes).values())
    memory = slots * (spec.bytes + width + SLOT_BYTES)
    rows = config.batch + needs.draws * (needs.candidates or config.replay_rows)
    trained = {p.name: p.size for p in plan.graph.parameters.values() if p.trained}
    found = {
        **plan.memory,
        "sparse_training": sparse.extra_bytes() + sparse.passing_bytes(trained),
        "memory": memory,
        "batch": 3 * rows * spec.bytes + 4 * rows * classes * 8,
        "evaluation": plan.predict_batch * spec.bytes,
        "task_index": samples * (40 + (33 if config.remove else 0)),
        "store": 0 if config.store is None else _store_bytes(config, spec.bytes + width, needs.draws, samples),
        "checkpoint": 0 if config.out is None else state_bytes(plan, sparse) + memory,
        "miro": 0 if config.miro is None else _trial_bytes(config, plan, sparse, spec, classes, samples),
        "other": other_bytes(plan.graph),
    }
    if config.lr == "auto":  # weights as they were, the samples that score a trial
        found["rate_trials"] = state_bytes(plan, sparse) + min(HELD_OUT_RATE, samples) * spec.bytes
    if needs.statistics is not None:
        features = int(np.prod(plan.graph.shapes[plan.graph.features]))
        found["statistics"] = needs.statistics(features, classes)
        found["checkpoint"] += 0 if config.out is None else found["statistics"]
        found["linear_algebra"] = _linear_algebra_bytes(features, found["statistics"])
    return found


def other_bytes(graph: Graph) -> int:
    """What every plan counts beside its arrays."""
    return OTHER_BYTES + NODE_BYTES * len(graph.nodes)


def _linear_algebra_bytes(width: int, statistics: int) -> int:
    """What numpy's BLAS keeps once it has factored a matrix [width, width]: packing buffers and its own code, measured
    with OpenBLAS on two threads for widths of 64 to 1,500. A method that keeps no such matrix solves none.
    """
    return min(1_100_000 + 5500 * width, 7_000_000, statistics)


def planned(
    config: Config,
    graph: Graph,
    method: Method,
    spec: SampleSpec,
    samples: int,
    trains: str | None = None,
    front: FrontInUse | None = None,
) -> tuple[Plan, dict[str, int]]:
    """The engine's plan and the bytes of the whole. ``trains``: see `engine_plan`."""
    sparse = configured_sparsity(config, graph)
    plan = engine_plan(config, graph, method, sparse, trains)
    growth = predicted_growth(config, plan, method, sparse, spec, graph.classes, samples)
    if front is not None:
        growth.update(front.planned)
    return plan, growth


def with_later(
    plan: RunPlan, graph: Graph, method: Method, spec: SampleSpec, samples: int, front: FrontInUse | None = None
) -> RunPlan:
    """The plan with the bytes from the second task on, where a closed-form head trains less then."""
    if method.needs.body != "first task":
        return plan
    later = planned(plan.config, graph, method, spec, samples, trains_at(method.needs, False), front)[1]
    return replace(plan, later=later)


def _store_bytes(config: Config, record: int, draws: int, samples: int) -> int:
    """Index and writer, one piece of the stream on its way to flash (as read and as packed), and the staging
    buffers of the carousel that fill before the first exchange.
    """
    staged = min(MOST_PENDING_SWAPS, (config.latency + 1) * draws * config.replay_rows)
    return STORE_BYTES + 8 * samples + (2 * APPEND + staged) * record


def _trial_bytes(
    config: Config, plan: Plan, sparse: SparseTraining, spec: SampleSpec, classes: int, samples: int
) -> int:
    """Two copies of the model's state, the reduced task and memory, and the samples that score a trial: at most."""
    held_out = max(HELD_OUT, classes)
    scale = min(LARGEST_REDUCTION, max(REDUCTION, LEAST * classes / (min(SHARES) * samples)))
    trial = int(scale * (samples + config.memory)) + classes
    return 2 * state_bytes(plan, sparse) + (trial + held_out) * (spec.bytes + 48)


def state_bytes(plan: Plan, sparse: SparseTraining) -> int:
    """Bytes of weights, optimizer state, sides and arrays per weight as a checkpoint gathers them."""
    moments, highest = len(plan.optimizer.moments()), sparse.max_densities()
    total = 0
    for p in plan.graph.parameters.values():
        living = int(p.size * highest.get(p.name, 1.0))
        total += 4 * living * (1 + moments) + (4 * living if living < p.size else 0)
    return total + beside_bytes(plan, sparse)


def beside_bytes(plan: Plan, sparse: SparseTraining) -> int:
    """The part of `state_bytes` that lies beside the model: sides with their patterns, arrays per weight."""
    extras, highest, total = plan.extras, sparse.max_densities(), 0
    for p in plan.graph.parameters.values():
        living = int(p.size * highest.get(p.name, 1.0))
        total += 4 * living * (len(extras.sides) + (len(extras.per_weight) if p.trained else 0))
        total += 4 * living * len(extras.sides) if living < p.size else 0
    return total
