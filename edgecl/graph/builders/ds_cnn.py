"""ds_cnn (Zhang et al. 2017, "Hello Edge", small variant): keyword spotting on 49x10 cepstral coefficients."""

from __future__ import annotations

from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, require_map, start


def ds_cnn(head: Head, *, width: int = 64, blocks: int = 4) -> Graph:
    """Convolution [10, 4] with stride 2, then ``blocks`` depthwise-separable blocks of ``width`` channels.

    Rows are time, columns coefficients. Every convolution is followed by normalisation and ReLU; global pooling;
    classifier. Prunable: pointwise convolutions. 22 k weights and 2.7 M multiplies for (1, 49, 10) and 12 words.
    The 49x10 map becomes 25x5 as with the paper's "same" padding (here 5 rows before, 4 of 5 used after).
    """
    require_map(head, 8)
    kind = norm_kind(head, "batch")
    g, x = start(head)
    x = conv(g, x, "stem", width, (10, 4), (2, 2), padding=(5, 1))
    x = g.add("relu", [norm(g, x, "stem_norm", kind)], name="stem_relu")
    for i in range(1, blocks + 1):
        x = conv(g, x, f"b{i}_depth", width, groups=width)
        x = g.add("relu", [norm(g, x, f"b{i}_depth_norm", kind)], name=f"b{i}_depth_relu")
        x = conv(g, x, f"b{i}_point", width, (1, 1), prunable=True)
        x = g.add("relu", [norm(g, x, f"b{i}_point_norm", kind)], name=f"b{i}_point_relu")
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))
