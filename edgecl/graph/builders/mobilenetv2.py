"""mobilenetv2 (Sandler et al. 2018) for 32x32: stem and first two stages at stride 1."""

from __future__ import annotations

from ...errors import BadInput
from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, pad_to_32, require_map, start

# expansion, output channels, blocks, stride of the first block
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenetv2(head: Head, *, width: float = 1.0) -> Graph:
    """Inverted residuals with ReLU6. Prunable: pointwise convolutions; dense: stem, depthwise, classifier.

    ``width`` scales the channels, rounded to multiples of 8.
    """
    if not 0 < width <= 4:
        raise BadInput(f"Width {width} is not possible for '{head.name}'.", "Use a factor above 0 and up to 4.")
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head, pad_to_32(head))
    x = _unit(g, x, "stem", _channels(32, width), (3, 3), 1, kind)
    for stage, (expansion, out, blocks, stride) in enumerate(_STAGES, 1):
        for block in range(1, blocks + 1):
            at = f"s{stage}b{block}"
            x = _inverted_residual(g, x, at, expansion, _channels(out, width), stride if block == 1 else 1, kind)
    x = _unit(g, x, "last", _channels(1280, max(width, 1.0)), (1, 1), 1, kind, prunable=True)
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))


def _inverted_residual(g: GraphBuilder, x: str, at: str, expansion: int, out: int, stride: int, kind: str) -> str:
    inner = g.shapes[x][0] * expansion
    y = x if expansion == 1 else _unit(g, x, f"{at}_expand", inner, (1, 1), 1, kind, prunable=True)
    y = _unit(g, y, f"{at}_depth", inner, (3, 3), stride, kind, groups=inner)
    y = conv(g, y, f"{at}_project", out, (1, 1), prunable=True)
    y = norm(g, y, f"{at}_project_norm", kind)
    return g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y


def _unit(
    g: GraphBuilder, x: str, at: str, out: int, kernel: tuple[int, int], stride: int, kind: str, *,
    groups: int = 1, prunable: bool = False,
) -> str:  # fmt: skip
    """Convolution, normalisation, ReLU6."""
    x = conv(g, x, at, out, kernel, (stride, stride), groups=groups, prunable=prunable)
    return g.add("relu6", [norm(g, x, f"{at}_norm", kind)], name=f"{at}_relu")


def _channels(n: int, width: float) -> int:
    return max(8, int(n * width / 8 + 0.5) * 8)
