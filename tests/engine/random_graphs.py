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
            elif p.spec.role == "constant":
                p.values[:] = rng.uniform(-1, 1, p.living)
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
        more = {}
        if draw(st.sampled_from([False, False, True])) and kind != "pointwise":
            if draw(st.booleans()):  # as much behind the map as its dilated taps reach, less before it
                more["dilation"] = [2 if k > 1 else 1 for k in size]
            padding = [draw(st.integers(0, p)) for p in padding] + [p * 4 for p in padding]
        return self.add(
            "conv2d", [x], out=out, kernel=size, stride=stride, padding=padding, groups=groups,
            bias=draw(st.booleans()), prunable=True, **more,
        )  # fmt: skip

    def transposed(self, x):
        draw, (c, h, w) = self.draw, self.shape(x)
        if h * w > 40:
            return x
        groups = draw(st.sampled_from([n for n in (1, 2, 3) if c % n == 0]))
        return self.add(
            "conv_transpose2d", [x], out=groups * draw(st.integers(1, 3)), kernel=[draw(st.integers(1, 3)), 2],
            stride=[draw(st.integers(1, 2)), 2], padding=draw(st.sampled_from([[0, 0], [0, 0, 0, 1]])), groups=groups,
            output_padding=[0, draw(st.integers(0, 1))], bias=draw(st.booleans()), prunable=True,
        )  # fmt: skip

    def joined(self, x):
        """Another branch beside this one."""
        other = self.activated(self.conv(x, out=self.draw(st.integers(1, 3)), stride=[1, 1]))
        return self.add("concat", [x, other], axis=0) if self.shape(other)[1:] == self.shape(x)[1:] else other

    def excited(self, x):
        """Squeeze and excitation."""
        squeezed = self.add("linear", [self.add("global_avg_pool", [x])], out=self.shape(x)[0])
        return self.add("channel_scale", [x, self.add("hard_sigmoid", [squeezed])])

    def normed(self, x):
        kind = self.draw(st.sampled_from(["batch_norm", "batch_norm", "group_norm", "none"]))
        if kind == "group_norm":
            c = self.shape(x)[0]
            return self.add(kind, [x], groups=self.draw(st.sampled_from([n for n in (1, 2, 3, c) if c % n == 0])))
        return x if kind == "none" else self.add(kind, [x])

    def activated(self, x):
        kind = self.draw(st.sampled_from(["relu", "relu", "relu6", "none", "smooth"]))
        if kind == "smooth":
            kind = self.draw(st.sampled_from(SMOOTH))
        return x if kind == "none" else self.add(kind, [x])

    def pooled(self, x):
        _, h, w = self.shape(x)
        kernel = [min(self.draw(st.integers(1, 3)), n) for n in (h, w)]
        stride = [self.draw(st.integers(1, 3)) if n > 1 else 1 for n in (h, w)]
        padding = [self.draw(st.integers(0, k // 2)) for k in kernel]
        op = self.draw(st.sampled_from(["max_pool", "avg_pool"]))
        more = {"count_include_pad": self.draw(st.booleans())} if op == "avg_pool" else {}
        return self.add(op, [x], kernel=kernel, stride=stride, padding=padding, ceil=self.draw(st.booleans()), **more)

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

    # ---- on tensors of any rank
    def numbered(self, x):
        """A learned tensor or a constant beside this one."""
        draw, shape = self.draw, self.shape(x)
        cut = draw(st.integers(0, len(shape)))
        own = [n if draw(st.booleans()) else 1 for n in shape[cut:]]
        p = self.add("parameter", [], shape=own, trained=draw(st.booleans()))
        op = draw(st.sampled_from(["add", "sub", "mul", "prelu"]))
        return self.add(op, [x, p] if op == "prelu" or draw(st.booleans()) else [p, x])

    def compared(self, x):
        """Arithmetic of this tensor and a function of it, away from every kink."""
        op = self.draw(
            st.sampled_from(["div", "pow", "maximum", "minimum", "where", "floor_mod", "trunc_mod", *COMPARE])
        )
        positive = self.add("scale_shift", [self.add("square", [self.add("tanh", [x])])], scale=1.0, shift=0.7)
        if op in ("div", "pow"):
            return self.add(op, [positive if op == "pow" else x, positive])
        if op in ("maximum", "minimum"):
            return self.add(op, [x, self.add("scale_shift", [x], scale=-0.5, shift=0.37)])
        if op == "where":
            return self.add("where", [self.add("greater", [x, self.add("neg", [x])]), x, positive])
        if op.endswith("mod"):  # steps: without influence, but computed
            step = self.add(op, [positive, self.add("scale_shift", [positive], scale=0.0, shift=10.0)])
            return self.add("add", [x, self.add("scale_shift", [step], scale=0.0, shift=0.0)])
        mask = self.add(op, [x, self.add("scale_shift", [x], scale=1.0, shift=1.0)])
        return self.add("add", [x, self.add("logical_not", [mask])])

    def smoothed(self, x):
        return self.add(self.draw(st.sampled_from(ANYWHERE)), [x])

    def deeper(self, x):
        """A function that only takes positive numbers."""
        positive = self.add("scale_shift", [self.add("square", [self.add("tanh", [x])])], scale=1.0, shift=0.7)
        return self.add(self.draw(st.sampled_from(["sqrt", "log", "power", "reciprocal"])), [positive])

    def stepped(self, x):
        """Steps have no gradient: what they are multiplied with has."""
        op = self.draw(st.sampled_from(["floor", "ceil", "round", "sign"]))
        sure = self.add("scale_shift", [self.add("tanh", [x])], scale=0.2, shift=0.3)  # within (0.1, 0.5)
        return self.add("mul", [x, self.add("scale_shift", [self.add(op, [sure])], scale=1.0, shift=0.5)])

    def moved(self, x):
        draw, shape = self.draw, self.shape(x)
        op = draw(st.sampled_from(["transpose", "reshape", "slice", "pad", "expand", "resample", "flip"]))
        if op == "transpose":
            return self.add("transpose", [x], axes=list(draw(st.permutations(range(len(shape))))))
        if op == "reshape":
            whole = int(np.prod(shape))
            first = draw(st.sampled_from([n for n in range(1, whole + 1) if whole % n == 0]))
            return self.add("reshape", [x], shape=[first, whole // first])
        if op == "slice":
            size = [draw(st.integers(max(1, n - 2), n)) for n in shape]
            return self.add("slice", [x], start=[n - m for n, m in zip(shape, size)], size=size, step=[1] * len(shape))
        if op == "flip":
            return self.add("slice", [x], start=[n - 1 for n in shape], size=list(shape), step=[-1] * len(shape))
        if op == "pad":
            sides = {k: [draw(st.integers(0, 1)) for _ in shape] for k in ("before", "after")}
            return self.add("pad", [x], value=draw(st.sampled_from([0.0, -0.5])), **sides)
        if op == "expand":
            return self.add("expand", [x], shape=[draw(st.integers(1, 2)), *shape]) if len(shape) < 4 else x
        if not shape:
            return x
        axis = draw(st.integers(0, len(shape) - 1))
        rows = draw(st.lists(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=2), min_size=1, max_size=4))
        return self.add(
            "resample", [x], axis=axis, columns=rows, weights=[[0.5 + i for i, _ in enumerate(r)] for r in rows]
        )

    def along(self, x):
        """Softmax, norms and reductions."""
        draw, shape = self.draw, self.shape(x)
        if not shape:
            return x
        axis = draw(st.integers(0, len(shape) - 1))
        op = draw(
            st.sampled_from(["softmax", "log_softmax", "unit_norm", "layer_norm", "rms_norm", "reduce", "argmax"])
        )
        if op in ("softmax", "log_softmax"):
            return self.add(op, [x], axis=axis)
        if op == "reduce":
            kind = draw(st.sampled_from(["sum", "mean", "max", "min", "prod"]))
            name = draw(st.sampled_from([f"reduce_{kind}", "log_sum_exp"]))
            if name == "reduce_prod":
                x = self.add("sigmoid", [x])
            return self.add(name, [x], axes=[axis], keep=draw(st.booleans()))
        if op == "argmax":
            place = self.add("argmax", [x], axes=[axis], keep=True, last=draw(st.booleans()))
            return self.add("add", [x, self.add("scale_shift", [place], scale=0.1, shift=0.0)])
        return self.add(op, [x], axes=[axis])

    def multiplied(self, x):
        """Attention of the rows of the last two axes with one another."""
        shape = self.shape(x)
        if len(shape) < 2:
            return x
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        scores = self.add("matmul", [x, self.add("transpose", [x], axes=order)], scale=0.2)
        return self.add("matmul", [self.add("softmax", [scores]), x])

    def tokens(self, x):
        if not self.shape(x):
            return x
        out, bias = self.draw(st.integers(1, 6)), self.draw(st.booleans())
        y = self.add("linear", [x], out=out, bias=bias, prunable=True)
        if self.shape(y) == self.shape(x) and self.draw(st.booleans()):  # once more by the same weights
            share = {"weight": f"{y}.weight", **({"bias": f"{y}.bias"} if bias else {})}
            y = self.add("linear", [self.add("tanh", [y])], out=out, bias=bias, prunable=True, share=share)
        return y

    def sequence(self, x):
        """A recurrent layer over the first axis."""
        draw, shape = self.draw, self.shape(x)
        if not shape:
            return x
        kind, hidden = draw(st.sampled_from(["lstm", "gru", "rnn"])), draw(st.integers(1, 4))
        rows = self.add("reshape", [x], shape=[shape[0], int(np.prod(shape[1:]))])
        gates = self.add("linear", [rows], out={"lstm": 4, "gru": 3, "rnn": 1}[kind] * hidden, prunable=True)
        more = {"reset_after": draw(st.booleans())} if kind == "gru" else {}
        return self.add(kind, [gates], hidden=hidden, reverse=draw(st.booleans()), prunable=True, **more)

    def dropped(self, x):
        return self.add("dropout", [x], p=self.draw(st.sampled_from([0.2, 0.5]))) if self.dropout else x


SMOOTH = (
    "hard_swish", "silu", "gelu", "gelu_tanh", "mish", "sigmoid", "tanh", "elu", "selu", "celu", "softplus", "softsign",
    "leaky_relu", "hard_sigmoid", "clip", "thresholded_relu",
)  # fmt: skip
ANYWHERE = (*SMOOTH, "neg", "square", "exp", "sin", "cos", "erf", "identity", "abs", "scale_shift")
COMPARE = (
    "less", "less_equal", "greater", "greater_equal", "equal", "logical_and", "logical_or", "logical_xor",
)  # fmt: skip
GENERAL = (
    "numbered", "compared", "smoothed", "deeper", "stepped", "moved", "moved", "along", "along", "multiplied",
    "tokens", "tokens",
    "sequence",
)  # fmt: skip


@st.composite
def tensor_cases(draw, max_layers=5, samples=(1, 2, 3, 7, 8, 16, 17)):
    """Graphs of operators on tensors of any rank."""
    shape = tuple(draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 4))))
    g = GraphBuilder("tensors", shape, "float32")
    grower = _Grower(draw, g, False)
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.1] * shape[0], std=[1.3] * shape[0], pad=0)
    x = grower.tokens(x)
    for _ in range(draw(st.integers(1, max_layers))):
        x = getattr(grower, draw(st.sampled_from(GENERAL)))(x)
        if np.prod(g.shapes[x]) > 400:
            x = grower.add("reduce_mean", [x], axes=[int(np.argmax(g.shapes[x]))])
    x = grower.add("reshape", [x], shape=[int(np.prod(g.shapes[x]))])
    return _finished(draw, g, x, samples)


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
            steps = ["block", "block", "residual", "pooled", "dropped", "transposed", "joined", "excited"]
            step = draw(st.sampled_from(steps))
            x = getattr(grower, step)(x)
        x = grower.add(draw(st.sampled_from(["global_avg_pool", "flatten"])), [x])
    for _ in range(draw(st.integers(0, 2))):
        x = grower.add("linear", [x], out=draw(st.integers(1, 9)), bias=draw(st.booleans()), prunable=True)
        x = grower.dropped(grower.activated(grower.normed(x)))
    return _finished(draw, g, x, samples)


def _finished(draw, g, x, samples):
    """The head, masks and frozen parameters."""
    graph = g.build(g.add("linear", [x], name="logits", out=draw(st.integers(2, 5))))

    sparse = graph.prunable() if draw(st.booleans()) else ()
    densities = {n: draw(st.sampled_from([0.1, 0.5, 1.0])) for n in sparse if draw(st.booleans())}
    trained = [p.name for p in graph.parameters.values() if p.trained]
    keeps = {n: 0.5 for n in graph.prunable() if draw(st.sampled_from([False, False, True]))}
    frozen = [n for n in trained if draw(st.sampled_from([False] * 5 + [True]))]
    return GraphCase(graph, densities, keeps, frozen, draw(st.sampled_from(samples)), draw(st.integers(0, 2**31 - 1)))
