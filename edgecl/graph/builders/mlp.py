"""mlp: flatten, hidden linear layers with ReLU, classifier."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph
from ._parts import Head, finish, norm, norm_kind, start


def mlp(head: Head, *, hidden: Sequence[int] = (256, 256), dropout: float = 0.0) -> Graph:
    """Any input shape. Hidden layers are prunable; without normalisation unless asked."""
    kind = norm_kind(head, "none", ("none", "batch", "group"))
    g, x = start(head)
    if len(head.input_shape) > 1:
        x = g.add("flatten", [x], name="flat")
    for i, width in enumerate(hidden, 1):
        x = g.add("linear", [x], name=f"fc{i}", out=width, bias=kind == "none", prunable=True)
        x = norm(g, x, f"norm{i}", kind)
        x = g.add("relu", [x], name=f"relu{i}")
        if dropout:
            x = g.add("dropout", [x], name=f"drop{i}", p=dropout)
    return finish(g, head, x)
