"""cnn1d: three convolutions along time for windows of sensor signals (C, 1, L)."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import BadInput
from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, start


def cnn1d(head: Head, *, widths: Sequence[int] = (32, 64, 128), kernel: int = 5) -> Graph:
    """Convolution [1, kernel], normalisation, ReLU, max pooling between them; global pooling; classifier.

    All convolutions but the first are prunable. 53 k weights for windows (6, 1, 128) and 6 classes.
    """
    shape, shortest = head.input_shape, 2 ** (len(widths) - 1)
    if len(shape) != 3 or shape[1] != 1 or shape[2] < shortest:
        raise BadInput(
            f"Network '{head.name}' takes windows (C, 1, L) with L >= {shortest}; "
            f"the stream's samples have shape {shape}.",
            "Use 'cnn' or a resnet for images and 'mlp' for anything else.",
        )
    if kernel < 1 or kernel % 2 == 0:
        raise BadInput(f"Kernel length {kernel} is not possible.", "Use an odd length.")
    kind = norm_kind(head, "batch")
    g, x = start(head)
    for i, width in enumerate(widths, 1):
        if i > 1:
            x = g.add("max_pool", [x], name=f"pool{i - 1}", kernel=[1, 2], stride=[1, 2])
        x = conv(g, x, f"conv{i}", width, (1, kernel), prunable=i > 1)
        x = norm(g, x, f"norm{i}", kind)
        x = g.add("relu", [x], name=f"relu{i}")
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))
