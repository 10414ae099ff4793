"""resnet20 and resnet18 (He et al. 2016) with the CIFAR stem: 3x3, stride 1, no pooling."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, pad_to_32, require_map, start


def resnet20(head: Head, *, width: int = 16) -> Graph:
    """Three stages of three basic blocks, width 16-32-64; 0.27 M weights."""
    return _resnet(head, width, blocks=(3, 3, 3))


def resnet18(head: Head, *, width: int = 64) -> Graph:
    """Four stages of two basic blocks, width 64-128-256-512; 11.16 M weights."""
    return _resnet(head, width, blocks=(2, 2, 2, 2))


def _resnet(head: Head, width: int, blocks: Sequence[int]) -> Graph:
    """Prunable: the 3x3 block convolutions; stem, 1x1 shortcuts and classifier stay dense (SparCL)."""
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head, pad_to_32(head))
    x = conv(g, x, "stem", width)
    x = norm(g, x, "stem_norm", kind)
    x = g.add("relu", [x], name="stem_relu")
    for stage, count in enumerate(blocks, 1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _basic_block(g, x, f"s{stage}b{block}", width * 2 ** (stage - 1), stride, kind)
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))


def _basic_block(g: GraphBuilder, x: str, at: str, out: int, stride: int, kind: str) -> str:
    """Two 3x3 convolutions around an identity, or a 1x1 projection where the shape changes."""
    y = conv(g, x, f"{at}_conv1", out, stride=(stride, stride), prunable=True)
    y = g.add("relu", [norm(g, y, f"{at}_norm1", kind)], name=f"{at}_relu1")
    y = conv(g, y, f"{at}_conv2", out, prunable=True)
    y = norm(g, y, f"{at}_norm2", kind)
    if g.shapes[x] != g.shapes[y]:
        x = conv(g, x, f"{at}_short", out, (1, 1), (stride, stride))
        x = norm(g, x, f"{at}_short_norm", kind)
    return g.add("relu", [g.add("add", [y, x], name=f"{at}_sum")], name=f"{at}_out")
