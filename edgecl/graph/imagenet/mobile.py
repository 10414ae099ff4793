"""MobileNetV1 (Howard 2017), V2 (Sandler 2018), V3 (Howard 2019) and MnasNet-B1 (Tan 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import depthwise, eight, finish, start, unit

RELU, SWISH = "relu", "hard_swish"


def mobilenetv1(name: str, classes: int, size: int) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", 32, 3, 2, prunable=False)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, (out, stride) in enumerate(zip(widths, strides), 1):
        x = depthwise(g, x, f"b{i}_depth", 3, stride)
        x = unit(g, x, f"b{i}_point", out)
    return finish(g, g.add("global_avg_pool", [x], name="pooled"), classes)


def mobilenetv2(name: str, classes: int, size: int, width: float) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", eight(32 * width), 3, 2, activation="relu6", prunable=False)
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for stage, (expansion, out, blocks, stride) in enumerate(stages, 1):
        for block in range(blocks):
            inner = g.shapes[x][0] * expansion
            x = _inverted(
                g, x, f"s{stage}b{block + 1}", 3, inner, eight(out * width), 0, "relu6", stride if block == 0 else 1
            )
    x = unit(g, x, "last", max(1280, eight(1280 * width)), activation="relu6")
    return finish(g, g.add("global_avg_pool", [x], name="pooled"), classes)


# kernel, inner channels, output channels, squeeze-and-excitation, activation, stride
Row = tuple[int, int, int, int, str, int]
_LARGE: Sequence[Row] = (
    (3, 16, 16, 0, RELU, 1), (3, 64, 24, 0, RELU, 2), (3, 72, 24, 0, RELU, 1), (5, 72, 40, 1, RELU, 2),
    (5, 120, 40, 1, RELU, 1), (5, 120, 40, 1, RELU, 1), (3, 240, 80, 0, SWISH, 2), (3, 200, 80, 0, SWISH, 1),
    (3, 184, 80, 0, SWISH, 1), (3, 184, 80, 0, SWISH, 1), (3, 480, 112, 1, SWISH, 1), (3, 672, 112, 1, SWISH, 1),
    (5, 672, 160, 1, SWISH, 2), (5, 960, 160, 1, SWISH, 1), (5, 960, 160, 1, SWISH, 1),
)  # fmt: skip
_SMALL: Sequence[Row] = (
    (3, 16, 16, 1, RELU, 2), (3, 72, 24, 0, RELU, 2), (3, 88, 24, 0, RELU, 1), (5, 96, 40, 1, SWISH, 2),
    (5, 240, 40, 1, SWISH, 1), (5, 240, 40, 1, SWISH, 1), (5, 120, 48, 1, SWISH, 1), (5, 144, 48, 1, SWISH, 1),
    (5, 288, 96, 1, SWISH, 2), (5, 576, 96, 1, SWISH, 1), (5, 576, 96, 1, SWISH, 1),
)  # fmt: skip


def mobilenetv3_large(name: str, classes: int, size: int) -> Graph:
    return _mobilenetv3(name, classes, size, _LARGE, 960, 1280)


def mobilenetv3_small(name: str, classes: int, size: int) -> Graph:
    return _mobilenetv3(name, classes, size, _SMALL, 576, 1024)


def _mobilenetv3(name: str, classes: int, size: int, rows: Sequence[Row], last: int, head: int) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", 16, 3, 2, activation=SWISH, prunable=False)
    for i, (kernel, inner, out, squeeze, activation, stride) in enumerate(rows, 1):
        x = _inverted(g, x, f"b{i}", kernel, inner, out, squeeze and eight(inner / 4), activation, stride)
    x = unit(g, x, "last", last, activation=SWISH)
    x = g.add("global_avg_pool", [x], name="pooled")
    x = g.add("linear", [x], name="head", out=head, bias=True)
    return finish(g, g.add(SWISH, [x], name="head_act"), classes)


def mnasnet(name: str, classes: int, size: int) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", 32, 3, 2, prunable=False)
    x = depthwise(g, x, "s0_depth", 3, 1)
    x = unit(g, x, "s0_point", 16, activation=None)
    stages = (
        (3, 3, 24, 3, 2), (3, 3, 40, 5, 2), (6, 3, 80, 5, 2), (6, 2, 96, 3, 1), (6, 4, 192, 5, 2), (6, 1, 320, 3, 1),
    )  # fmt: skip
    for stage, (expansion, blocks, out, kernel, stride) in enumerate(stages, 1):
        for block in range(blocks):
            inner = g.shapes[x][0] * expansion
            x = _inverted(g, x, f"s{stage}b{block + 1}", kernel, inner, out, 0, RELU, stride if block == 0 else 1)
    x = unit(g, x, "last", 1280)
    return finish(g, g.add("global_avg_pool", [x], name="pooled"), classes)


def _inverted(
    g: GraphBuilder, x: str, at: str, kernel: int, inner: int, out: int, squeeze: int, activation: str, stride: int
) -> str:  # fmt: skip
    """Expansion, depthwise, optional squeeze-and-excitation of ``squeeze`` channels, projection, residual."""
    y = x if g.shapes[x][0] == inner else unit(g, x, f"{at}_expand", inner, activation=activation)
    y = depthwise(g, y, f"{at}_depth", kernel, stride, activation)
    if squeeze:
        s = g.add("global_avg_pool", [y], name=f"{at}_squeeze")
        s = g.add("linear", [s], name=f"{at}_squeeze1", out=squeeze, bias=True)
        s = g.add(RELU, [s], name=f"{at}_squeeze_act")
        s = g.add("linear", [s], name=f"{at}_squeeze2", out=inner, bias=True)
        y = g.add("channel_scale", [y, g.add("hard_sigmoid", [s], name=f"{at}_gate")], name=f"{at}_excite")
    y = unit(g, y, f"{at}_project", out, activation=None)
    return g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y
