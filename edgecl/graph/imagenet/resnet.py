"""ResNet-18, -34 and -50 (He et al. 2016) with the 7x7 stem."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import finish, max_pool, start, unit


def resnet18(name: str, classes: int, size: int) -> Graph:
    return _resnet(name, classes, size, (2, 2, 2, 2), bottleneck=False)


def resnet34(name: str, classes: int, size: int) -> Graph:
    return _resnet(name, classes, size, (3, 4, 6, 3), bottleneck=False)


def resnet50(name: str, classes: int, size: int) -> Graph:
    return _resnet(name, classes, size, (3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, classes: int, size: int, blocks: Sequence[int], bottleneck: bool) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", 64, 7, 2, prunable=False)
    x = max_pool(g, x, "stem_pool", 3, 2, 1)
    for stage, count in enumerate(blocks, 1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(g, x, f"s{stage}b{block}", 64 * 2 ** (stage - 1), stride, bottleneck)
    return finish(g, g.add("global_avg_pool", [x], name="pooled"), classes)


def _block(g: GraphBuilder, x: str, at: str, width: int, stride: int, bottleneck: bool) -> str:
    """Basic (3x3, 3x3) or bottleneck (1x1, 3x3 with the stride, 1x1 to four times the width)."""
    if bottleneck:
        y = unit(g, x, f"{at}_reduce", width)
        y = unit(g, y, f"{at}_conv", width, 3, stride)
        y = unit(g, y, f"{at}_expand", 4 * width, activation=None)
    else:
        y = unit(g, x, f"{at}_conv1", width, 3, stride)
        y = unit(g, y, f"{at}_conv2", width, 3, activation=None)
    if g.shapes[x] != g.shapes[y]:
        x = unit(g, x, f"{at}_short", g.shapes[y][0], 1, stride, activation=None, prunable=False)
    return g.add("relu", [g.add("add", [y, x], name=f"{at}_sum")], name=f"{at}_out")
