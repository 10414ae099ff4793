"""cnn: three 3x3 convolutions for small images such as 28x28."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, require_map, start


def cnn(head: Head, *, widths: Sequence[int] = (32, 64, 128), dropout: float = 0.0) -> Graph:
    """Convolution, normalisation, ReLU, halving by max pooling between them; global pooling; classifier.

    All convolutions but the first are prunable. 94 k weights for 28x28 grey images and 10 classes.
    """
    require_map(head, 2 ** (len(widths) - 1))
    kind = norm_kind(head, "batch")
    g, x = start(head)
    for i, width in enumerate(widths, 1):
        if i > 1:
            x = g.add("max_pool", [x], name=f"pool{i - 1}", kernel=[2, 2], stride=[2, 2])
        x = conv(g, x, f"conv{i}", width, prunable=i > 1)
        x = norm(g, x, f"norm{i}", kind)
        x = g.add("relu", [x], name=f"relu{i}")
    x = g.add("global_avg_pool", [x], name="pooled")
    if dropout:
        x = g.add("dropout", [x], name="drop", p=dropout)
    return finish(g, head, x)
