"""compile_plan: graph and choices -> Plan for the native engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import unknown_name
from ..graph import Graph
from ..graph.ops.cost_only import refuse_cost_only
from .blocking import Blocks, choose_blocking
from .direct import runs_direct
from .expand import expand, operands
from .extras import Extras, fetched_tensors, trained_parameters
from .memory import extras_bytes, parameter_bytes, scratch_bytes
from .plan import Optimizer, Plan
from .program import Lowering

# Cost of one lane relative to the widest vector, measured on Zen 5 (narrow lanes put several positions in a vector).
LANE_COST = {16: 1.0, 8: 1.17, 4: 1.38, 2: 2.2, 1: 3.4}
ACTIVATIONS = ("float32", "bfloat16")


def choose_lanes(batch: int, available: Sequence[int]) -> int:
    """Vector width that wastes least on ``batch`` samples."""
    return min(available, key=lambda w: -(-batch // w) * w * LANE_COST[w])


def _lanes_for(graph: Graph, available: Sequence[int]) -> Sequence[int]:
    """Vector widths that every layer of the graph has kernels for."""
    if any(n.op == "conv_transpose2d" for n in graph.nodes):
        return [w for w in available if w >= 4]
    return available


def refuse_other_planes(train: Mapping[str, Any], predict: Mapping[str, Any]) -> None:
    """A list counts in planes: read in others by a prediction, it would give wrong logits without a word."""
    for name, (plane, _) in train.items():
        if predict[name][0] != plane:
            raise AssertionError(f"{name}: planes of training {plane} and of prediction {predict[name][0]} differ")


def row_cost(rows: int) -> float:
    """Relative time of one sample in a forward of ``rows``: 1 where the widest vectors are full."""
    from .. import _kernels

    available = _kernels.lanes()
    lanes = choose_lanes(rows, available)
    return -(-rows // lanes) * lanes * LANE_COST[lanes] / (rows * LANE_COST[available[0]])


def compile_plan(
    graph: Graph,
    *,
    batch: int,
    predict_batch: int | None = None,
    densities: Mapping[str, float] | None = None,
    optimizer: Optimizer | None = None,
    threads: int = 1,
    lanes: int | None = None,
    fetch: Sequence[str] = (),
    recompute: bool = True,
    blocking: Mapping[str, Blocks] | None = None,
    activations: str = "float32",
    direct: bool = False,
    **extras: Any,
) -> Plan:
    """Lower ``graph`` for at most ``batch`` samples a training forward and ``predict_batch`` a prediction.

    ``densities`` gives the highest density of each weight tensor over the schedule (absent: 1). ``lanes`` forces a
    vector width. ``fetch`` names tensors to fetch beside the logits, from predictions too unless ``predict_fetch``
    is given; it and the other ``extras`` are fields of `Extras`. ``recompute`` (see `Lowering`) saves a
    third of the arena at the same bits and, measured, the same speed. ``blocking`` overrides the table of
    `choose_blocking` for some nodes. ``activations``: ``float32`` or ``bfloat16``, what maps are kept in from the
    forward to the backward pass. ``direct``: of a plan that trains nothing, dense layers run from their weights as they
    lie, without lists, if all can: a sample at a time, with other roundings. Nothing is allocated.
    """
    if activations not in ACTIVATIONS:
        raise unknown_name("activations", activations, ACTIVATIONS)
    refuse_cost_only(graph)
    from .. import _kernels

    wanted = Extras(**{"fetch": fetch, "predict_fetch": fetch, **extras})
    optimizer = optimizer or Optimizer()
    densities = dict(densities or {})
    predict_batch = predict_batch or batch
    direct = direct and wanted.trains == "none" and lanes in (None, 1) and runs_direct(graph, densities, predict_batch)
    lanes = 1 if direct else lanes or choose_lanes(batch, _lanes_for(graph, _kernels.lanes()))
    # One expansion for both entry points: they share the lists, which count in planes.
    lowered = expand(graph, fetched_tensors(graph, (*wanted.fetch, *wanted.predict_fetch)))
    blocks = choose_blocking(lowered, densities, lanes, blocking)
    trained = trained_parameters(graph, wanted.trains)
    fetched = fetched_tensors(graph, wanted.fetch)
    size, train = -(-batch // lanes), None
    if wanted.trains == "all":
        train = Lowering(lowered, size, lanes, True, fetched, recompute, activations == "bfloat16").program()
    elif wanted.trains == "head":  # what waits for its backward pass are the features: few, and kept whole
        train = Lowering(lowered, size, lanes, False, fetched, trained=trained).program()
    fetched = fetched_tensors(graph, wanted.predict_fetch)
    predict = Lowering(lowered, -(-predict_batch // lanes), lanes, False, fetched, direct=direct).program()
    if train:
        refuse_other_planes(train["planes"], predict["planes"])
    memory = {
        "arena": train["arena_bytes"] if train else 0,
        "predict_arena": predict["arena_bytes"],
        **parameter_bytes(graph, densities, optimizer, blocks, trained, direct),
        "scratch": scratch_bytes(
            lowered, densities, predict_batch if direct else batch, lanes, threads, trained, direct
        ),
        **extras_bytes(graph, densities, wanted, blocks, (batch, predict_batch), direct),
    }
    program = {
        "lanes": lanes,
        "isa": _kernels.isa(),
        "recompute": recompute,
        "activations": activations,
        "blocking": blocks,
        "direct": direct,
        "train": train,
        "predict": predict,
    }
    if operands(lowered):
        program["tensors"] = list(graph.parameters)
    return Plan(graph, batch, predict_batch, optimizer, threads, densities, program, memory, wanted)
