"""What a plan takes beside its arenas: bytes of parameters, index lists and the kernels' scratch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from ..graph import Graph, Node
from .direct import DIRECT, direct_lists, direct_scratch
from .extras import Extras, fetched_tensors, trained_parameters
from .flops import weight_costs
from .operations import DEPTH, POINT, as_map, fused_code, geometry, weight_nodes
from .plan import Optimizer
from .primitives import GATES, Lines, Product
from .runs import RUN_LANES

# Bytes per living weight: value, gradient (4 each); list entries of offset and value, backward also of a step between
# positions. Per list: where it and its weights start. Per block of lists: what it spans, counted where only forward
# lists are held, which are as short as they get.
WEIGHT_BYTES, FORWARD_BYTES, BACKWARD_BYTES, CELL_BYTES, BLOCK_BYTES = 8, 8, 10, 8, 28
WEIGHT_CHUNK, LONG_LISTS = 16384, 1.5  # of kernels/conv.cpp
LONGEST_TILE, TALLEST_TILE, HALO = 8, 4, 2  # vectors of its tiles, columns between rows of a run
POINT_ACCUMULATORS, POINT_PARTIALS, POINT_ITEMS = 2048, 1 << 19, 16  # of kernels/point.cpp


def parameter_bytes(
    graph: Graph,
    densities: Mapping[str, float],
    optimizer: Optimizer,
    blocking: Mapping[str, Sequence[int]],
    trained: Collection[str],
    direct: bool = False,
) -> dict[str, int]:
    """Bytes of parameters (values, pattern; of ``trained`` ones gradients and optimizer state) and of the kernels'
    index lists, which layers run ``direct`` do without.
    """
    nodes = {n.name: n for n in graph.nodes}
    depthwise = {n.name for n in graph.nodes if fused_code(graph, n) == DEPTH}  # one list serves both ways
    parameters = lists = 0
    for p in graph.parameters.values():
        density = densities.get(p.name, 1.0)
        living = round(p.size * density)
        state = WEIGHT_BYTES + 4 * len(optimizer.moments()) if p.name in trained else 4
        parameters += living * (state + (4 if density < 1 else 0))
    for cost in weight_costs(graph, trained):  # of a weight that several layers share, each has lists of its own
        living, node = round(graph.parameters[cost.name].size * densities.get(cost.name, 1.0)), nodes[cost.node]
        if direct and node.op in DIRECT:
            continue
        both = (cost.input_gradient or node.op == "conv_transpose2d") and cost.node not in depthwise
        lists += living * (FORWARD_BYTES + BACKWARD_BYTES * both)
        out, channels, _, _, stride_h, stride_w, _, _, groups = geometry(graph, node)
        forward, backward = blocking[node.name]
        lists += 0 if cost.name in trained else BLOCK_BYTES * groups * -(-channels // groups // forward)
        lists += CELL_BYTES * out * -(-channels // groups // forward)
        lists += CELL_BYTES * channels * -(-out // groups // backward) * stride_h * stride_w * both
    lists += direct_lists(graph, densities) if direct else 0
    return {"parameters": parameters, "lists": lists}


def extras_bytes(
    graph: Graph,
    densities: Mapping[str, float],
    extras: Extras,
    blocking: Mapping[str, Sequence[int]],
    batches: tuple[int, int],
    direct: bool = False,
) -> dict[str, int]:
    """Bytes of `Extras` by purpose, those that take any; ``batches``: rows of a training forward, of a prediction.

    A side holds values, patterns and statistics, and the lists of a forward pass.
    """
    weights = {n.parameters[0]: n for n in weight_nodes(graph)}
    trained = set(trained_parameters(graph, extras.trains))
    side = flat = 0
    for p in graph.parameters.values():
        density = densities.get(p.name, 1.0)
        living = round(p.size * density)
        flat += 4 * living * (p.name in trained)
        side += living * (8 if density < 1 else 4)
        if p.name in weights and not (direct and weights[p.name].op in DIRECT):
            out, channels, *_, groups = geometry(graph, weights[p.name])
            pieces = -(-channels // groups // blocking[weights[p.name].name][0])
            side += living * FORWARD_BYTES + (CELL_BYTES * out + BLOCK_BYTES * groups) * pieces
    found = {
        "sides": (side + (direct_lists(graph, densities) if direct else 0)) * len(extras.sides),
        "per_weight": flat * len(extras.per_weight),
        "gradient_copies": flat * extras.gradient_copies,
        # a training forward's values and the gradients that they are seeded with
        "fetched": 8 * batches[0] * _fetched_values(graph, extras.fetch) * (extras.trains != "none")
        + 4 * batches[1] * _fetched_values(graph, extras.predict_fetch),
    }
    return {purpose: n for purpose, n in found.items() if n}


def _fetched_values(graph: Graph, names: Sequence[str]) -> int:
    """Values a sample of the tensors fetched beside the logits."""
    return sum(math.prod(graph.shapes[t]) for t in fetched_tensors(graph, names) if t != graph.logits)


def scratch_bytes(
    graph: Graph,
    densities: Mapping[str, float],
    batch: int,
    lanes: int,
    threads: int,
    trained: Collection[str],
    direct: bool = False,
) -> int:
    """Bytes that the kernels keep for sums and gradient accumulators: what the layer with most of them asks for."""
    if direct:
        return max(direct_scratch(graph, densities, batch, threads), _tensor_rows(graph, lanes, threads))
    return max(
        _sums(graph, lanes, threads) if trained else 0,
        _accumulators(graph, densities, batch, lanes, threads, trained),
        _pointwise(graph, densities, lanes, threads, bool(trained)),
        _tensor_rows(graph, lanes, threads),
    )


def _tensor_rows(graph: Graph, lanes: int, threads: int) -> int:
    """Bytes that lines, products and recurrences gather their operands in (kernels/tensor.cpp)."""
    most = 0
    for node in graph.nodes:
        for part in node.attributes.get("parts", ()):
            if isinstance(part, Lines):  # the gradient's pass reads one or two more operands
                most = max(most, 4 * math.prod(part.out.sizes[-part.line :]) * lanes)
            elif isinstance(part, Product) and lanes < 4:
                most = max(most, 64 * max(part.out.sizes[-3:]))
        if node.op in GATES:
            most = max(most, (GATES[node.op] + 3) * node.attributes["hidden"] * lanes)
    return 4 * threads * most


def _unfused(graph: Graph) -> list[Node]:
    """Layers that kernels/conv.cpp runs."""
    return [n for n in graph.nodes if n.op in ("conv2d", "linear", "conv_transpose2d") and fused_code(graph, n) is None]


def _sums(graph: Graph, lanes: int, threads: int) -> int:
    """Per thread the sums a normalisation needs of each channel: in vectors, narrow and wide."""
    from .. import _kernels

    if all(n.op != "batch_norm" for n in graph.nodes):
        return 0
    channels = max((max(geometry(graph, n)[:2]) for n in _unfused(graph)), default=0)
    return threads * channels * 2 * (lanes + _kernels.lanes()[0]) * 4


def _accumulators(
    graph: Graph, densities: Mapping[str, float], batch: int, lanes: int, threads: int, trained: Collection[str]
) -> int:
    """Per thread one vector for each weight gradient of a piece of a layer; none where sums are reduced at once."""
    from .. import _kernels

    widest, blocks, most = _kernels.lanes()[0], -(-batch // lanes), 0
    tile = min(LONGEST_TILE, _kernels.point_positions(widest))  # vectors of a row that are one visit
    for node in _unfused(graph):
        p, shape = graph.parameters[node.parameters[0]], graph.shapes[node.output]
        out, channels, *_, stride, _, _, groups = geometry(graph, node)
        height, width = as_map(shape)[1:]
        flat, vector = height * width == 1, widest if stride == 1 or lanes <= RUN_LANES else lanes
        if lanes <= RUN_LANES:
            height, width = 1, height * (width + HALO)
        visits = -(-blocks // TALLEST_TILE) if flat else blocks * height * -(-width * lanes // (tile * vector))
        if p.name not in trained or visits <= 2:
            continue
        living, short = round(p.size * densities.get(p.name, 1.0)), LONG_LISTS * out * channels / groups
        if living > short:
            continue
        pieces = threads * -(-living // (WEIGHT_CHUNK * threads))
        most = max(most, threads * -(-living // pieces) * ((lanes if flat else widest) + 1) * 4)
    return most


def _pointwise(graph: Graph, densities: Mapping[str, float], lanes: int, threads: int, backward: bool) -> int:
    """Bytes that pointwise convolutions gather tiles and, where a pass goes ``backward``, sums and weight gradients in
    (kernels/point.cpp)."""
    from .. import _kernels

    widest, run = _kernels.lanes()[0], _kernels.point_positions(lanes) * lanes
    most = 0
    for node in graph.nodes:
        if fused_code(graph, node) != POINT:
            continue
        out, channels = geometry(graph, node)[:2]
        if not backward:
            most = max(most, 4 * threads * run * (channels + out))
            continue
        name = node.parameters[0]
        living = round(graph.parameters[name].size * densities.get(name, 1.0))
        vectors = living if living <= POINT_ACCUMULATORS else 0
        floats = run * (3 * channels + out) + 2 * channels * widest + vectors * widest
        partial = min(POINT_ITEMS, max(2, POINT_PARTIALS // max(living, 1))) * living
        most = max(most, 4 * (threads * floats + partial))
    return most
