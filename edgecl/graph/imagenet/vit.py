"""Vision transformers with 16x16 patches (Dosovitskiy 2021; tiny and small of Touvron 2021)."""

from __future__ import annotations

from ..graph import Graph
from ._parts import conv, finish, start


def vit(name: str, classes: int, size: int, *, dim: int, heads: int, depth: int = 12, patch: int = 16) -> Graph:
    """Tokens are maps [dim, 1, T]; a linear layer on tokens is a 1x1 convolution."""
    g, x = start(name, size)
    x = conv(g, x, "patches", dim, patch, patch, padding=0, bias=True, prunable=False)
    x = g.add("tokens", [x], name="tokens")
    for i in range(1, depth + 1):
        y = g.add("layer_norm", [x], name=f"b{i}_norm1")
        y = conv(g, y, f"b{i}_qkv", 3 * dim, bias=True)
        y = g.add("attention", [y], name=f"b{i}_attention", heads=heads)
        x = g.add("add", [x, conv(g, y, f"b{i}_out", dim, bias=True)], name=f"b{i}_sum1")
        y = g.add("layer_norm", [x], name=f"b{i}_norm2")
        y = g.add("gelu", [conv(g, y, f"b{i}_fc1", 4 * dim, bias=True)], name=f"b{i}_gelu")
        x = g.add("add", [x, conv(g, y, f"b{i}_fc2", dim, bias=True)], name=f"b{i}_sum2")
    x = g.add("layer_norm", [x], name="last_norm")
    return finish(g, g.add("first_token", [x], name="class_token"), classes)
