"""compile_plan: graph and choices -> Plan for the native engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import unknown_name
from ..graph import Graph
from ..graph.ops.cost_only import refuse_cost_only
from .blocking import Blocks, choose_blocking
from .flops import weight_costs
from .plan import Optimizer, Plan
from .program import DEPTH, POINT, Lowering, fused_code, geometry

# Cost of one lane relative to the widest vector, measured on Zen 5 (narrow lanes put several positions in a vector).
LANE_COST = {16: 1.0, 8: 1.17, 4: 1.38, 2: 2.2, 1: 3.4}
# Bytes per living weight: value, gradient (4 each); list entries of offset and value, backward also of a step between
# positions. Per list: where it and its weights start.
WEIGHT_BYTES, FORWARD_BYTES, BACKWARD_BYTES, CELL_BYTES = 8, 8, 10, 8
ACTIVATIONS = ("float32", "bfloat16")
# Bytes the native engine keeps per thread for sums and gradient accumulators (WEIGHT_CHUNK in kernels/conv.cpp).
SCRATCH_VECTORS = 16384
POINT_ACCUMULATORS, POINT_PARTIALS, POINT_ITEMS = 2048, 1 << 19, 16  # of kernels/point.cpp


def choose_lanes(batch: int, available: Sequence[int]) -> int:
    """Vector width that wastes least on ``batch`` samples."""
    return min(available, key=lambda w: -(-batch // w) * w * LANE_COST[w])


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
) -> Plan:
    """Lower ``graph`` for at most ``batch`` samples a training forward and ``predict_batch`` a prediction.

    ``densities`` gives the highest density of each weight tensor over the schedule (absent: 1). ``lanes`` forces a
    vector width. ``fetch`` names tensors to fetch beside the logits. ``recompute`` (see `Lowering`)
    saves a third of the arena at the same bits and, measured, the same speed. ``blocking`` overrides the table of
    `choose_blocking` for some nodes. ``activations``: ``float32`` or ``bfloat16``, what maps are kept in from the
    forward to the backward pass. Nothing is allocated.
    """
    if activations not in ACTIVATIONS:
        raise unknown_name("activations", activations, ACTIVATIONS)
    refuse_cost_only(graph)
    from .. import _kernels

    optimizer = optimizer or Optimizer()
    densities = dict(densities or {})
    lanes = lanes or choose_lanes(batch, _kernels.lanes())
    predict_batch = predict_batch or batch
    fetched = (graph.logits, *(f for f in fetch if f not in ("logits", graph.logits)))
    blocks = choose_blocking(graph, densities, lanes, blocking)
    train = Lowering(graph, -(-batch // lanes), lanes, True, fetched, recompute, activations == "bfloat16").program()
    predict = Lowering(graph, -(-predict_batch // lanes), lanes, False, fetched).program()
    memory = {
        "arena": train["arena_bytes"],
        "predict_arena": predict["arena_bytes"],
        **parameter_bytes(graph, densities, optimizer, blocks),
        "scratch": max(threads * (SCRATCH_VECTORS * (lanes + 1) * 4), fused_scratch(graph, densities, lanes, threads)),
    }
    program = {
        "lanes": lanes,
        "isa": _kernels.isa(),
        "recompute": recompute,
        "activations": activations,
        "blocking": blocks,
        "train": train,
        "predict": predict,
    }
    return Plan(graph, batch, predict_batch, optimizer, threads, densities, program, memory)


def fused_scratch(graph: Graph, densities: Mapping[str, float], lanes: int, threads: int) -> int:
    """Bytes that pointwise convolutions gather tiles, sums and weight gradients in (kernels/point.cpp)."""
    from .. import _kernels

    widest, run = _kernels.lanes()[0], _kernels.point_positions(lanes) * lanes
    most = 0
    for node in graph.nodes:
        if fused_code(graph, node) != POINT:
            continue
        out, channels = geometry(graph, node)[:2]
        name = node.parameters[0]
        living = round(graph.parameters[name].size * densities.get(name, 1.0))
        vectors = living if living <= POINT_ACCUMULATORS else 0
        floats = run * (3 * channels + out) + 2 * channels * widest + vectors * widest
        partial = min(POINT_ITEMS, max(2, POINT_PARTIALS // max(living, 1))) * living
        most = max(most, 4 * (threads * floats + partial))
    return most


def parameter_bytes(
    graph: Graph, densities: Mapping[str, float], optimizer: Optimizer, blocking: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Bytes of parameters (values, gradients, optimizer state, pattern) and of the kernels' index lists."""
    costs = {c.name: c for c in weight_costs(graph)}
    depthwise = {n.name for n in graph.nodes if fused_code(graph, n) == DEPTH}  # one list serves both ways
    parameters = lists = 0
    for p in graph.parameters.values():
        density = densities.get(p.name, 1.0)
        living = round(p.size * density)
        state = WEIGHT_BYTES + 4 * len(optimizer.moments()) if p.trained else 4
        parameters += living * (state + (4 if density < 1 else 0))
        if p.name in costs:
            cost = costs[p.name]
            both = cost.input_gradient and cost.node not in depthwise
            lists += living * (FORWARD_BYTES + BACKWARD_BYTES * both)
            node = next(n for n in graph.nodes if n.name == cost.node)
            out, channels, _, _, stride_h, stride_w, _, _, groups = geometry(graph, node)
            forward, backward = blocking[node.name]
            lists += CELL_BYTES * out * -(-channels // groups // forward)
            lists += CELL_BYTES * channels * -(-out // groups // backward) * stride_h * stride_w * both
    return {"parameters": parameters, "lists": lists}
