"""conv_tail: a small network for maps that a frozen backbone gives."""

from __future__ import annotations

from ..graph import Graph
from ._mobile import unit
from ._parts import Head, finish, norm_kind, require_map, start

SMALLEST = 2  # pixels of a map


def conv_tail(head: Head, *, width: int = 256) -> Graph:
    """A pointwise convolution to ``width`` channels, normalised, ReLU6; the mean over positions; a linear layer."""
    require_map(head, SMALLEST)
    g, x = start(head)
    x = unit(g, x, "point", width, 1, 1, norm_kind(head, "batch"), "relu6", prunable=True)
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))
