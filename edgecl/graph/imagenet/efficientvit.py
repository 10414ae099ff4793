"""EfficientViT-B1 (Cai et al. 2023): inverted residuals and multi-scale ReLU linear attention."""

from __future__ import annotations

from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import conv, depthwise, finish, start, unit

SWISH = "hard_swish"
HEAD = 16  # channels of one attention head


def efficientvit_b1(name: str, classes: int, size: int) -> Graph:
    g, x = start(name, size)
    x = unit(g, x, "stem", 16, 3, 2, activation=SWISH, prunable=False)
    y = depthwise(g, x, "stem_depth", 3, 1, SWISH)
    x = g.add("add", [x, unit(g, y, "stem_point", 16, activation=None)], name="stem_sum")
    for stage, (width, depth) in enumerate(((32, 2), (64, 3), (128, 3), (256, 4)), 1):
        attention = stage > 2
        for block in range(1, depth + 1):
            if block == 1:
                x = _inverted(g, x, f"s{stage}b1", width, 2, attention)
                continue
            if attention:
                x = _attention(g, x, f"s{stage}b{block}")
            x = _inverted(g, x, f"s{stage}b{block}", width, 1, attention)
        if attention:
            x = _attention(g, x, f"s{stage}b{depth + 1}")
            x = _inverted(g, x, f"s{stage}b{depth + 1}", width, 1, attention)
    x = unit(g, x, "head", 1536, activation=SWISH)
    x = g.add("global_avg_pool", [x], name="pooled")
    x = g.add("linear", [x], name="head_fc", out=1600, bias=True)
    x = g.add("layer_norm", [x], name="head_layer_norm")
    return finish(g, g.add(SWISH, [x], name="head_fc_act"), classes)


def _inverted(g: GraphBuilder, x: str, at: str, out: int, stride: int, few_norms: bool) -> str:
    """1x1 to four times the channels, depthwise 3x3, 1x1; the later stages have a bias for a norm on the first two."""
    inner = 4 * g.shapes[x][0]
    if few_norms:
        y = g.add(SWISH, [conv(g, x, f"{at}_expand", inner, bias=True)], name=f"{at}_expand_act")
        y = conv(g, y, f"{at}_depth", inner, 3, stride, groups=inner, bias=True, prunable=False)
        y = g.add(SWISH, [y], name=f"{at}_depth_act")
    else:
        y = depthwise(g, unit(g, x, f"{at}_expand", inner, activation=SWISH), f"{at}_depth", 3, stride, SWISH)
    y = unit(g, y, f"{at}_project", out, activation=None)
    return g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y


def _attention(g: GraphBuilder, x: str, at: str) -> str:
    """Queries, keys and values, and the same seen through a 5x5 depthwise and a grouped 1x1, attend per head."""
    width = g.shapes[x][0]
    qkv = conv(g, x, f"{at}_qkv", 3 * width)
    wide = conv(g, qkv, f"{at}_scale5", 3 * width, 5, groups=3 * width, prunable=False)
    wide = conv(g, wide, f"{at}_mix5", 3 * width, groups=3 * width // HEAD, prunable=False)
    y = g.add("attention", [g.add("concat", [qkv, wide], name=f"{at}_scales")], name=f"{at}_attention",
              heads=2 * width // HEAD, linear=True)  # fmt: skip
    y = unit(g, y, f"{at}_attended", width, activation=None)
    return g.add("add", [x, y], name=f"{at}_attention_sum")
