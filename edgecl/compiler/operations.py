"""Operations of a lowered program: their codes, those of kernels/program.h, and layers as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node

CONV, STATS, AFFINE, GROUP_NORM, COPY, POOL, HALO, AFFINE_AGAIN = 0, 1, 2, 3, 4, 5, 6, 7
NORM, DEPTH, POINT, SPLIT, SAVE, CONV_AFFINE = 8, 9, 10, 11, 12, 13
CONV_WEIGHT, CONV_INPUT, MASK, NORM_INPUT, GROUP_NORM_INPUT, POOL_INPUT, BIAS = 16, 17, 18, 19, 20, 21, 22
NORM_GRADIENT, DEPTH_BACKWARD, POINT_BACKWARD, MERGE, RESTORE = 23, 24, 25, 26, 27
BACKWARD = {DEPTH: DEPTH_BACKWARD, POINT: POINT_BACKWARD}

# Which arguments of an operation are maps.
MAPS: dict[int, tuple[int, ...]] = {
    CONV: (1, 2), STATS: (1,), AFFINE: (0, 2, 4), GROUP_NORM: (1, 2), COPY: (0, 1, 2), POOL: (0, 1), HALO: (0,),
    AFFINE_AGAIN: (0, 2, 4), NORM: (1,), DEPTH: (1, 2), POINT: (1, 2), SPLIT: (1, 2), CONV_WEIGHT: (1, 2),
    CONV_INPUT: (1, 2, 6, 7), MASK: (0, 2, 3), NORM_INPUT: (1, 2, 3), GROUP_NORM_INPUT: (1, 2, 3),
    POOL_INPUT: (0, 1, 9), BIAS: (1,), NORM_GRADIENT: (1,), DEPTH_BACKWARD: (1, 4, 6, 7, 11),
    POINT_BACKWARD: (1, 4, 6, 7, 11), MERGE: (1, 2),
}  # fmt: skip

POINT_POSITIONS = 32  # smaller maps go to the general kernel, which can tile over samples


def as_map(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of a tensor; a vector is F maps of one position."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def geometry(graph: Graph, node: Node) -> list[int]:
    """A convolution or linear layer as the kernels take it: out, in, kernel, stride, padding, groups."""
    a = node.attributes
    channels = graph.shapes[node.inputs[0]][0]
    if node.op == "linear":
        return [a["out"], channels, 1, 1, 1, 1, 0, 0, 1]
    return [a["out"], channels, *a["kernel"], *a["stride"], *a["padding"], a["groups"]]


def fused_code(graph: Graph, node: Node) -> int | None:
    """DEPTH or POINT where a convolution has a kernel that reads through normalisations; else None. It depends on
    the layer alone, so that all entry points of a plan agree.
    """
    if node.op != "conv2d":
        return None
    out, channels, *window, groups = geometry(graph, node)
    if groups > 1 and groups == out == channels:
        return DEPTH
    _, h, w = as_map(graph.shapes[node.output])
    return POINT if groups == 1 and window == [1, 1, 1, 1, 0, 0] and h * w >= POINT_POSITIONS else None
