"""Plans that only predict run layers from their weights as they lie, without lists (kernels/direct.h)."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph import Graph
from .operations import as_map, geometry, weight_nodes

DIRECT = ("conv2d", "linear")
DEPTH, PANEL_FLOATS, PANEL_PRODUCTS, MOST_ROWS = 1024, 24 << 10, 8, 64  # of kernels/direct.cpp, as
SPARSE_VECTORS, SPARSE_ROWS = 8, 32
SPARSE_BATCH = 4  # samples a list of living weights is faster for
ALIGNMENT = 80  # floats a worker's scratch is rounded up by, at most


def runs_direct(graph: Graph, densities: Mapping[str, float], batch: int) -> bool:
    """Whether every layer with weights has such kernels; living weights are shared by samples where there are some."""
    nodes = weight_nodes(graph)
    sparse = any(densities.get(n.parameters[0], 1.0) < 1 for n in nodes)
    return all(n.op != "conv_transpose2d" for n in nodes) and not (sparse and batch >= SPARSE_BATCH)


def direct_lists(graph: Graph, densities: Mapping[str, float]) -> int:
    """Bytes beside the parameters: where rows of living weights begin, or all weights of a depthwise layer."""
    total = 0
    for node in weight_nodes(graph):
        if node.op in DIRECT and densities.get(node.parameters[0], 1.0) < 1:
            size = graph.parameters[node.parameters[0]].size
            out = geometry(graph, node)[0]
            total += 4 * (size if _depthwise(geometry(graph, node)) else out + 1)
    return total


def direct_scratch(graph: Graph, densities: Mapping[str, float], batch: int, threads: int) -> int:
    """Bytes of panels and their sums, or of padded planes: of the layer that takes most of them."""
    from .. import _kernels

    vector, vectors = _kernels.panel()
    product, most = vector * vectors, 0
    for node in weight_nodes(graph):
        if node.op not in DIRECT:
            continue
        g = geometry(graph, node)
        out, _, kernel_h, kernel_w, stride_h, stride_w, _, _, groups = g
        _, height, width = as_map(graph.shapes[node.output])
        _, *size = as_map(graph.shapes[node.inputs[0]])
        depth = graph.parameters[node.parameters[0]].size // out
        if _depthwise(g):
            part = -(-width // (2 * vector)) * 2 * vector + (kernel_w - 1) // stride_w
            floats = ((height - 1) * stride_h + kernel_h) * part * stride_w
        elif densities.get(node.parameters[0], 1.0) < 1:
            floats = (depth + SPARSE_ROWS) * SPARSE_VECTORS * vector
        elif size == [1, 1] == [kernel_h, kernel_w] and groups == 1 and batch < vector:
            continue  # dot products need none
        else:
            held, columns = min(depth, DEPTH), -(-batch * height * width // product)
            row = product * min(columns, max(1, min(PANEL_PRODUCTS, PANEL_FLOATS // (held * product))))
            floats = (held + (out // groups + MOST_ROWS if depth > DEPTH else MOST_ROWS)) * row
        most = max(most, floats + ALIGNMENT)
    return 4 * threads * most


def _depthwise(geometry: list[int]) -> bool:
    out, channels, *_, groups = geometry
    return groups == channels == out and groups > 1
