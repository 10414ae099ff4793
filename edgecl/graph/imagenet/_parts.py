"""Layers shared by the published networks."""

from __future__ import annotations

from ..builder import GraphBuilder
from ..graph import Graph


def start(name: str, size: int) -> tuple[GraphBuilder, str]:
    g = GraphBuilder(name, (3, size, size), "float32")
    return g, g.add("normalise", [g.input], name="input_norm", mean=[0.0] * 3, std=[1.0] * 3)


def finish(g: GraphBuilder, features: str, classes: int) -> Graph:
    g.notes["features"] = features
    return g.build(g.add("linear", [features], name="logits", out=classes, bias=True))


def conv(
    g: GraphBuilder, x: str, name: str, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1,
    padding: int | None = None, bias: bool = False, prunable: bool = True,
) -> str:  # fmt: skip
    pad = kernel // 2 if padding is None else padding
    return g.add(
        "conv2d", [x], name=name, out=out, kernel=[kernel] * 2, stride=[stride] * 2, padding=[pad] * 2,
        groups=groups, bias=bias, prunable=prunable,
    )  # fmt: skip


def unit(
    g: GraphBuilder, x: str, at: str, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1,
    activation: str | None = "relu", prunable: bool = True,
) -> str:  # fmt: skip
    """Convolution, batch norm, activation."""
    x = conv(g, x, at, out, kernel, stride, groups=groups, prunable=prunable)
    x = g.add("batch_norm", [x], name=f"{at}_norm")
    return x if activation is None else g.add(activation, [x], name=f"{at}_act")


def depthwise(g: GraphBuilder, x: str, at: str, kernel: int, stride: int, activation: str | None = "relu") -> str:
    """A 3x3 or 5x5 unit with one filter a channel."""
    n = g.shapes[x][0]
    return unit(g, x, at, n, kernel, stride, groups=n, activation=activation, prunable=False)


def max_pool(g: GraphBuilder, x: str, name: str, kernel: int, stride: int, padding: int = 0) -> str:
    return g.add("max_pool", [x], name=name, kernel=[kernel] * 2, stride=[stride] * 2, padding=[padding] * 2)


def eight(n: float) -> int:
    """Rounded to a multiple of 8, at most a tenth below (Howard et al. 2019, make_divisible)."""
    rounded = max(8, int(n + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * n else rounded
