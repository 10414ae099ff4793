"""mobilenetv3_small (Howard et al. 2019): inverted residuals with squeeze-and-excitation and hard-swish."""

from __future__ import annotations

from ...errors import BadInput
from ..builder import GraphBuilder
from ..graph import Graph
from ._mobile import channels, strides, unit
from ._parts import Head, conv, finish, norm, norm_kind, require_map, start

# kernel, expanded channels, output channels, excitation, activation, stride
_BLOCKS = (
    (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2), (5, 240, 40, True, "hard_swish", 1), (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1), (5, 144, 48, True, "hard_swish", 1), (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1), (5, 576, 96, True, "hard_swish", 1),
)  # fmt: skip


def mobilenetv3_small(head: Head, *, width: float = 1.0) -> Graph:
    """Images below 96 pixels keep their size at the first strides. Prunable: pointwise convolutions of the blocks."""
    if not 0 < width <= 4:
        raise BadInput(f"Width {width} is not possible for '{head.name}'.", "Use a factor above 0 and up to 4.")
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head)
    stem, *steps = strides(head, [2, *(b[5] for b in _BLOCKS)])
    x = unit(g, x, "stem", channels(16, width), 3, stem, kind, "hard_swish")
    for i, ((kernel, inner, out, excite, activation, _), stride) in enumerate(zip(_BLOCKS, steps), 1):
        x = _block(
            g, x, f"b{i}", kernel, channels(inner, width), channels(out, width), excite, activation, stride, kind
        )
    x = unit(g, x, "last", channels(576, width), 1, 1, kind, "hard_swish", prunable=True)
    x = g.add("linear", [g.add("global_avg_pool", [x], name="mean")], name="head", out=channels(1024, max(width, 1.0)))
    return finish(g, head, g.add("hard_swish", [x], name="features"))


def _block(
    g: GraphBuilder,
    x: str,
    at: str,
    kernel: int,
    inner: int,
    out: int,
    excite: bool,
    activation: str,
    stride: int,
    kind: str,
) -> str:
    y = x
    if inner != g.shapes[x][0]:
        y = unit(g, x, f"{at}_expand", inner, 1, 1, kind, activation, prunable=True)
    y = unit(g, y, f"{at}_depth", inner, kernel, stride, kind, activation, groups=inner)
    if excite:
        s = g.add(
            "linear", [g.add("global_avg_pool", [y], name=f"{at}_squeeze")], name=f"{at}_fc1", out=channels(inner, 0.25)
        )
        s = g.add("linear", [g.add("relu", [s], name=f"{at}_fc1_relu")], name=f"{at}_fc2", out=inner)
        y = g.add("channel_scale", [y, g.add("hard_sigmoid", [s], name=f"{at}_gate")], name=f"{at}_excite")
    y = norm(g, conv(g, y, f"{at}_project", out, (1, 1), prunable=True), f"{at}_project_norm", kind)
    return g.add("add", [x, y], name=f"{at}_sum") if g.shapes[x] == g.shapes[y] else y
