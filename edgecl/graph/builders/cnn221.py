"""cnn221: three 3x3 convolutions, two of them at stride 2. 56,554 weights for grey images and 10 classes."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, require_map, start


def cnn221(head: Head, *, widths: Sequence[int] = (32, 64, 64)) -> Graph:
    """Each convolution with normalisation and ReLU, then global pooling. Prunable: all but the first."""
    require_map(head, 4)
    kind = norm_kind(head, "batch")
    g, x = start(head)
    for i, width in enumerate(widths, 1):
        stride = 2 if i < 3 else 1
        x = norm(g, conv(g, x, f"conv{i}", width, stride=(stride, stride), prunable=i > 1), f"norm{i}", kind)
        x = g.add("relu", [x], name=f"relu{i}")
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))
