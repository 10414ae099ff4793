"""Which plans run dense layers from their weights as they lie, without lists (kernels/direct.h), and what it takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph import Graph
from .operations import as_map, geometry, weight_nodes

DIRECT = ("conv2d", "linear")
DEPTH, PANEL_FLOATS, PANEL_PRODUCTS, MOST_ROWS = 1024, 24 << 10, 8, 64  # of kernels/direct.cpp
ALIGNMENT = 80  # floats a worker's scratch is rounded up by, at most


def runs_direct(graph: Graph, densities: Mapping[str, float]) -> bool:
    """Whether every layer with weights has a dense kernel and all its weights living."""
    nodes = weight_nodes(graph)
    dense = all(densities.get(n.parameters[0], 1.0) >= 1 for n in nodes)
    return dense and all(n.op != "conv_transpose2d" for n in nodes)


def direct_scratch(graph: Graph, batch: int, threads: int) -> int:
    """Bytes of panels and their sums, or of padded planes: of the layer that takes most of them."""
    from .. import _kernels

    vector, vectors = _kernels.panel()
    product = vector * vectors
    most = 0
    for node in weight_nodes(graph):
        if node.op not in DIRECT:
            continue
        out, channels, kernel_h, kernel_w, stride_h, stride_w, _, _, groups = geometry(graph, node)
        _, height, width = as_map(graph.shapes[node.output])
        _, *size = as_map(graph.shapes[node.inputs[0]])
        if size == [1, 1] == [kernel_h, kernel_w] and groups == 1 and batch < vector:
            continue  # dot products need none
        if groups == channels == out and groups > 1:
            part = -(-width // (2 * vector)) * 2 * vector + (kernel_w - 1) // stride_w
            floats = ((height - 1) * stride_h + kernel_h) * part * stride_w
        else:
            depth = graph.parameters[node.parameters[0]].size // out
            held, columns = min(depth, DEPTH), -(-batch * height * width // product)
            row = product * min(columns, max(1, min(PANEL_PRODUCTS, PANEL_FLOATS // (held * product))))
            floats = (held + (out // groups + MOST_ROWS if depth > DEPTH else MOST_ROWS)) * row
        most = max(most, floats + ALIGNMENT)
    return 4 * threads * most
