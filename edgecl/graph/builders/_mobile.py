"""What the mobile networks share: rounded widths, convolution units, strides for small images."""

from __future__ import annotations

from collections.abc import Sequence

from ..builder import GraphBuilder
from ._parts import Head, conv, norm

SMALLEST = 96  # pixels that all of a network's strides need


def channels(n: float, width: float, most: float = 0.9) -> int:
    """``n * width`` rounded to a multiple of 8, never below ``most`` of it (as the published networks do)."""
    rounded = max(8, int(n * width + 4) // 8 * 8)
    return rounded + 8 if rounded < most * n * width else rounded


def strides(head: Head, wanted: Sequence[int]) -> list[int]:
    """The strides, the first ones 1 where the image is too small for them: one for each halving that it lacks."""
    size, missing = min(head.input_shape[1:]), 0
    while size * 2**missing < SMALLEST and missing < 3:
        missing += 1
    out = []
    for s in wanted:
        out.append(1 if s == 2 and missing else s)
        missing -= s == 2 and missing > 0
    return out


def unit(
    g: GraphBuilder, x: str, at: str, out: int, kernel: int, stride: int, kind: str, activation: str | None, *,
    groups: int = 1, prunable: bool = False,
) -> str:  # fmt: skip
    """Convolution, normalisation, activation."""
    x = conv(g, x, at, out, (kernel, kernel), (stride, stride), groups=groups, prunable=prunable)
    x = norm(g, x, f"{at}_norm", kind)
    return x if activation is None else g.add(activation, [x], name=f"{at}_act")
