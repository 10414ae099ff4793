"""Random small graphs over every operator, with random masks: food for comparing engines.

case = draw(graph_cases())
case.graph, case.model(), case.batch(n) -> (x, y), case.subsets(model)
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from small_nets import data, random_pattern

from edgecl.engine import Model
from edgecl.graph import Graph, GraphBuilder


@dataclass
class GraphCase:
    graph: Graph
    densities: dict  # weight tensor -> density
    keeps: dict  # weight tensor -> fraction of living weights with a gradient
    frozen: list
    samples: int
    seed: int

    def model(self):
        """The case's patterns, gradient subsets and frozen parameters; the same at every call."""
        rng = np.random.default_rng(self.seed)
        model = Model(self.graph, rng)
        for name, p in model.parameters.items():
            # away from the identity, so that a forgotten scale or shift is seen
            if p.spec.role == "scale":
                p.values[:] = rng.uniform(0.5, 1.5, p.living)
            elif p.spec.role == "shift":
                p.values[:] = rng.uniform(-0.5, 0.5, p.living)
            if name in self.densities:
                p.set_pattern(random_pattern(p.spec.size, self.densities[name], rng))
            if name in self.keeps:
                p.gradient_subset = random_pattern(p.living, self.keeps[name], rng)
            p.frozen = name in self.frozen
        return model

    def data(self):
        """(x uint8 or float32 [samples, ...], y)"""
        x, y = data(self.graph, self.samples, self.seed % 1000)
        return (x if self.graph.input_dtype == "uint8" else (x / 64.0 - 2).astype(np.float32)), y

    def _repr_pretty_(self, printer, cycle):  # hypothesis would print every field
        printer.text(repr(self))

    def __repr__(self):
        nodes = "; ".join(f"{n.name}={n.op}({','.join(n.inputs)} {dict(n.attributes)})" for n in self.graph.nodes)
        return (
            f"GraphCase({self.graph.input_shape} {self.graph.input_dtype} x{self.samples}: {nodes}; "
            f"densities={self.densities} keeps={self.keeps} frozen={self.frozen} seed={self.seed})"
        )


class _Grower:
    """Adds random nodes to a graph builder, keeping maps small."""

    def __init__(self, draw, g, dropout):
        self.draw, self.g, self.dropout, self.count = draw, g, dropout, 0

    def add(self, op, inputs, **attributes):
        self.count += 1
        return self.g.add(op, inputs, name=f"{op}{self.count}", **attributes)

    def shape(self, x):
        return self.g.shapes[x]

    def conv(self, x, out=None, stride=None):
        c, h, w = self.shape(x)
        draw = self.draw
        kinds = ["plain", "pointwise", "depthwise", "grouped"] if out is None else ["plain", "pointwise"]
        kind = draw(st.sampled_from(kinds))
        groups = 1
        if kind == "depthwise":
            groups = c
        elif kind == "grouped":
            groups = draw(st.sampled_from([n for n in range(1, c + 1) if c % n == 0]))
        size = [1, 1] if kind == "pointwise" else [draw(st.sampled_from([1, 3, 5])) if n > 1 else 1 for n in (h, w)]
        stride = stride or [draw(st.sampled_from([1, 1, 2, 3])) if n > 1 else 1 for n in (h, w)]
        out = out or groups * draw(st.integers(1, max(1, 9 // groups)))
        padding = [k // 2 for k in size]
        return self.add(
            "conv2d", [x], out=out, kernel=size, stride=stride, padding=padding, groups=groups,
            bias=draw(st.booleans()), prunable=True,
        )  # fmt: skip

    def normed(self, x):
        kind = self.draw(st.sampled_from(["batch_norm", "batch_norm", "group_norm", "none"]))
        if kind == "group_norm":
            c = self.shape(x)[0]
            return self.add(kind, [x], groups=self.draw(st.sampled_from([n for n in (1, 2, 3, c) if c % n == 0])))
        return x if kind == "none" else self.add(kind, [x])

    def activated(self, x):
        kind = self.draw(st.sampled_from(["relu", "relu", "relu6", "none"]))
        return x if kind == "none" else self.add(kind, [x])

    def pooled(self, x):
        _, h, w = self.shape(x)
        kernel = [min(self.draw(st.integers(1, 3)), n) for n in (h, w)]
        stride = [self.draw(st.integers(1, 3)) if n > 1 else 1 for n in (h, w)]
        padding = [self.draw(st.integers(0, k // 2)) for k in kernel]
        op = self.draw(st.sampled_from(["max_pool", "avg_pool"]))
        return self.add(op, [x], kernel=kernel, stride=stride, padding=padding)

    def block(self, x):
        """Convolution, normalisation, activation."""
        return self.activated(self.normed(self.conv(x)))

    def residual(self, x):
        """Two branches of the same shape, the second perhaps an identity."""
        left = self.activated(self.normed(self.conv(x)))
        c, h, w = self.shape(left)
        right = x
        if self.shape(x) != (c, h, w):
            ih, iw = self.shape(x)[1:]
            # the stride a 1x1 convolution needs to land on the same size
            strides = [next((s for s in range(1, 4) if (a - 1) // s + 1 == b), 0) for a, b in ((ih, h), (iw, w))]
            if 0 in strides:
                return left
            right = self.normed(
                self.add("conv2d", [x], out=c, kernel=[1, 1], stride=strides, padding=[0, 0], groups=1,
                         bias=False, prunable=self.draw(st.booleans()))
            )  # fmt: skip
        order = [left, right] if self.draw(st.booleans()) else [right, left]
        return self.activated(self.add("add", order))

    def dropped(self, x):
        return self.add("dropout", [x], p=self.draw(st.sampled_from([0.2, 0.5]))) if self.dropout else x


@st.composite
def graph_cases(draw, dropout=True, max_layers=5, samples=(1, 2, 3, 7, 8, 9, 16, 17)):
    kind = draw(st.sampled_from(["image", "image", "signal", "vector"]))
    shape = {
        "image": (draw(st.integers(1, 4)), draw(st.integers(3, 12)), draw(st.integers(3, 12))),
        "signal": (draw(st.integers(1, 6)), 1, draw(st.integers(6, 33))),
        "vector": (draw(st.integers(1, 12)),),
    }[kind]
    g = GraphBuilder("random", shape, draw(st.sampled_from(["uint8", "float32"])))
    grower = _Grower(draw, g, dropout and draw(st.booleans()))
    mean, std = (120.0, 60.0) if g.input_dtype == "uint8" else (0.1, 1.3)
    pad = draw(st.integers(0, 2)) if kind == "image" else 0
    x = g.add("normalise", [g.input], name="input_norm", mean=[mean] * shape[0], std=[std] * shape[0], pad=pad)
    if kind != "vector":
        for _ in range(draw(st.integers(1, max_layers))):
            step = draw(st.sampled_from(["block", "block", "residual", "pooled", "dropped"]))
            x = getattr(grower, step)(x)
        x = grower.add(draw(st.sampled_from(["global_avg_pool", "flatten"])), [x])
    for _ in range(draw(st.integers(0, 2))):
        x = grower.add("linear", [x], out=draw(st.integers(1, 9)), bias=draw(st.booleans()), prunable=True)
        x = grower.dropped(grower.activated(grower.normed(x)))
    graph = g.build(g.add("linear", [x], name="logits", out=draw(st.integers(2, 5))))

    sparse = graph.prunable() if draw(st.booleans()) else ()
    densities = {n: draw(st.sampled_from([0.1, 0.5, 1.0])) for n in sparse if draw(st.booleans())}
    trained = [p.name for p in graph.parameters.values() if p.trained]
    keeps = {n: 0.5 for n in graph.prunable() if draw(st.sampled_from([False, False, True]))}
    frozen = [n for n in trained if draw(st.sampled_from([False] * 5 + [True]))]
    return GraphCase(graph, densities, keeps, frozen, draw(st.sampled_from(samples)), draw(st.integers(0, 2**31 - 1)))
