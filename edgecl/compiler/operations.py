"""Operations of a lowered program: their codes and masks, and layers as the kernels take them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph import Graph, Node
from .operation_table import (  # noqa: F401  (every code, so that lowering imports them from here)
    AFFINE,
    AFFINE_AGAIN,
    BIAS,
    CONV,
    CONV_AFFINE,
    CONV_INPUT,
    CONV_WEIGHT,
    COPY,
    DEPTH,
    DEPTH_BACKWARD,
    EACH,
    FUNCTIONS,
    GROUP_NORM,
    GROUP_NORM_INPUT,
    HALO,
    LINES,
    MASK,
    MERGE,
    NORM,
    NORM_GRADIENT,
    NORM_INPUT,
    POINT,
    POINT_BACKWARD,
    POOL,
    POOL_INPUT,
    PRODUCT,
    RECUR,
    RECUR_BACK,
    RESAMPLE,
    RESHAPE,
    RESTORE,
    SAVE,
    SPLIT,
    STATS,
    TABLE,
)  # fmt: skip

BACKWARD = {DEPTH: DEPTH_BACKWARD, POINT: POINT_BACKWARD}
MAPS: dict[int, tuple[int, ...]] = {o.code: o.maps for o in TABLE.values()}  # which arguments of an operation are maps
KINDS: dict[int, str] = {o.code: o.name.lower() for o in TABLE.values()}
WRITES: dict[int, int] = {o.code: o.writes for o in TABLE.values()}

WEIGHTED = ("conv2d", "linear", "conv_transpose2d", "lstm", "gru", "rnn")
POINT_POSITIONS = 32  # smaller maps go to the general kernel, which can tile over samples


def as_map(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of a tensor: its first axis, all between, its last one; a vector is F maps of one position."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    if len(shape) < 2:
        return (shape[0] if shape else 1, 1, 1)
    return (shape[0], math.prod(shape[1:-1]), shape[-1])


def geometry(graph: Graph, node: Node) -> list[int]:
    """A layer with weights as the kernels take it: out, in, kernel, stride, padding before, groups.

    The kernel is as wide as its taps reach: of a dilated one only every so many are weights (`dilation`). A transposed
    convolution is that whose input gradient it is, a recurrent layer the product with its recurrent weights.
    """
    a = node.attributes
    shape = graph.parameters[node.parameters[0]].shape
    if len(shape) == 2:
        return [*shape, 1, 1, 1, 1, 0, 0, 1]
    extent = [(k - 1) * d + 1 for k, d in zip(a["kernel"], dilation(node))]
    return [shape[0], shape[1] * a["groups"], *extent, *a["stride"], *a["padding"][:2], a["groups"]]


def dilation(node: Node) -> list[int]:
    return list(node.attributes.get("dilation", [1, 1]))


def weight_nodes(graph: Graph) -> list[Node]:
    """Layers with weights that may be sparse, in order: what the kernels number them by."""
    return [n for n in graph.nodes if n.op in WEIGHTED]


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
    if as_map(graph.shapes[node.inputs[0]])[1:] != (h, w):
        return None  # padded behind the map
    return POINT if groups == 1 and window == [1, 1, 1, 1, 0, 0] and h * w >= POINT_POSITIONS else None
