"""efficientnet_lite0 (TensorFlow 2020) and mobilenetv4_conv_small (Qin et al. 2024)."""

from __future__ import annotations

from ..builder import GraphBuilder
from ..graph import Graph
from ._mobile import strides, unit
from ._parts import Head, conv, finish, norm, norm_kind, require_map, start

# expansion, kernel, output channels, blocks, stride of the first
_LITE0 = (
    (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6,
    3, 320, 1, 1),
)  # fmt: skip
# output channels, kernel before the expansion, kernel behind it (0: none), stride, expansion
_SMALL = (
    (96, 5, 5, 2, 3), (96, 0, 3, 1, 2), (96, 0, 3, 1, 2), (96, 0, 3, 1, 2), (96, 0, 3, 1, 2), (96, 3, 0, 1, 4),
    (128, 3, 3, 2, 6), (128, 5, 5, 1, 4), (128, 0, 5, 1, 4), (128, 0, 5, 1, 3), (128, 0, 3, 1, 4), (128, 0, 3, 1, 4),
)  # fmt: skip


def efficientnet_lite0(head: Head) -> Graph:
    """Inverted residuals with ReLU6, no excitation. Prunable: pointwise convolutions; small images: fewer strides."""
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head)
    stem, *steps = strides(head, [2, *(stage[4] for stage in _LITE0)])
    x = unit(g, x, "stem", 32, 3, stem, kind, "relu6")
    for i, ((expansion, kernel, out, blocks, _), step) in enumerate(zip(_LITE0, steps), 1):
        for b in range(1, blocks + 1):
            at, inner, y = f"s{i}b{b}", g.shapes[x][0] * expansion, x
            if expansion > 1:
                y = unit(g, x, f"{at}_expand", inner, 1, 1, kind, "relu6", prunable=True)
            y = unit(g, y, f"{at}_depth", inner, kernel, step if b == 1 else 1, kind, "relu6", groups=inner)
            y = norm(g, conv(g, y, f"{at}_project", out, (1, 1), prunable=True), f"{at}_project_norm", kind)
            x = g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y
    x = unit(g, x, "last", 1280, 1, 1, kind, "relu6", prunable=True)
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))


def mobilenetv4_conv_small(head: Head) -> Graph:
    """Universal inverted bottlenecks with ReLU. Prunable: pointwise convolutions; small images: fewer strides."""
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head)
    steps = strides(head, [2, 2, 2, *(b[3] for b in _SMALL)])
    x = unit(g, x, "stem", 32, 3, steps[0], kind, "relu")
    for i, (out, wide, step) in enumerate(((32, 32, steps[1]), (64, 96, steps[2])), 1):
        x = unit(g, x, f"c{i}", wide, 3, step, kind, "relu", prunable=True)
        x = unit(g, x, f"c{i}_point", out, 1, 1, kind, "relu", prunable=True)
    for i, ((out, before, behind, _, expansion), step) in enumerate(zip(_SMALL, steps[3:]), 1):
        x = _bottleneck(g, x, f"b{i}", out, before, behind, step, expansion, kind)
    x = unit(g, x, "last", 960, 1, 1, kind, "relu", prunable=True)
    x = g.add("reshape", [g.add("global_avg_pool", [x], name="mean")], name="mean_map", shape=[960, 1, 1])
    x = unit(g, x, "head", 1280, 1, 1, kind, "relu")
    return finish(g, head, g.add("flatten", [x], name="features"))


def _bottleneck(
    g: GraphBuilder, x: str, at: str, out: int, before: int, behind: int, stride: int, expansion: int, kind: str
) -> str:
    channels, y = g.shapes[x][0], x
    if before:
        y = unit(g, y, f"{at}_first", channels, before, 1 if behind else stride, kind, None, groups=channels)
    inner = (channels * expansion + 4) // 8 * 8
    y = unit(g, y, f"{at}_expand", inner, 1, 1, kind, "relu", prunable=True)
    if behind:
        y = unit(g, y, f"{at}_depth", inner, behind, stride, kind, "relu", groups=inner)
    y = norm(g, conv(g, y, f"{at}_project", out, (1, 1), prunable=True), f"{at}_project_norm", kind)
    return g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y
