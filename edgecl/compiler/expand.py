"""expand: a graph whose tensor operators are primitives over views (see primitives.py).

Convolutions, norms, pools, `linear` on vectors and what is fused around them stay nodes as they are. Reshapes,
transposes, slices and repeats become views where they can: then nothing moves, and whoever comes next reads the tensor
behind them. A tensor is laid out anew only for a node that needs it whole and in its own order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..graph import Graph, Node
from ..graph.ops.arithmetic import TABLE as ARITHMETIC
from ..graph.ops.functions import TABLE as FUNCTIONS
from ..graph.ops.pool import AvgPool
from ..graph.registry import operator
from .operations import as_map
from .primitives import Each, Lines, Product, Rows, Source
from .views import View

WHOLE = {  # nodes that have kernels of their own, where their inputs allow it
    "normalise", "conv2d", "batch_norm", "group_norm", "relu", "relu6", "dropout", "global_avg_pool", "avg_pool",
    "max_pool", "flatten", "linear", "add", "conv_transpose2d",
}  # fmt: skip
REDUCTIONS = {
    "reduce_max": "line_max", "reduce_min": "line_min", "reduce_prod": "line_prod", "log_sum_exp": "log_sum_exp",
    "argmax": "line_argmax",
}  # fmt: skip


def expand(graph: Graph, fetch: Collection[str]) -> Graph:
    """``graph`` in what the kernels run; itself where it is that already."""
    if all(_native(graph, n) for n in graph.nodes):
        return graph
    return _Expander(graph, {graph.logits, *fetch}).run()


def operands(graph: Graph) -> list[str]:
    """Parameters and constants that the primitives of an expanded graph read."""
    names: dict[str, None] = {}
    for node in graph.nodes:
        for part in node.attributes.get("parts", ()):
            names.update(dict.fromkeys(s.name for s in part.sources if s.parameter))
        if node.op in ("lstm", "gru", "rnn"):
            names[node.parameters[1]] = None
    return list(names)


def _native(graph: Graph, node: Node) -> bool:
    """Has this node, with these shapes, kernels of its own?"""
    if node.op not in WHOLE:
        return operator(node.op, node.name).cost_only
    shapes = [graph.shapes[i] for i in node.inputs]
    a = node.attributes
    if node.op == "add":
        return shapes[0] == shapes[1]
    if node.op == "linear":
        return len(shapes[0]) == 1
    if node.op == "flatten":
        return len(shapes[0]) in (1, 3)
    if node.op == "conv_transpose2d":
        return not a["bias"]
    if node.op == "max_pool":
        return list(a.get("dilation", [1, 1])) == [1, 1]
    if node.op == "avg_pool":
        rows, columns = AvgPool().counts(shapes[0], a)
        return {*rows} == {a["kernel"][0]} and {*columns} == {a["kernel"][1]}
    return True


@dataclass(frozen=True)
class Seen:
    """What a tensor is a view of."""

    name: str
    view: View
    parameter: bool = False


class _Expander:
    def __init__(self, graph: Graph, fetch: Collection[str]) -> None:
        self.graph, self.fetch = graph, fetch
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {graph.input: tuple(graph.shapes[graph.input])}
        self.seen: dict[str, Seen] = {graph.input: self._whole(graph.input)}

    def _whole(self, name: str) -> Seen:
        return Seen(name, View.of_map(self.graph.shapes[name]))

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if operator(node.op, node.name).cost_only:
                self.keep(node)
            else:
                self._handler(node)(node)
            if node.output in self.fetch:
                self.whole(node.output)
        g = self.graph
        return Graph(
            g.name, g.input, g.input_dtype, g.logits, tuple(self.nodes), self.shapes, dict(g.parameters), dict(g.notes)
        )

    def _handler(self, node: Node) -> Callable[[Node], None]:
        plain = all(self.seen[i].view.plain and not self.seen[i].parameter for i in node.inputs)
        if _native(self.graph, node) and (plain or node.op not in ("relu", "relu6", "add")):
            return self.keep
        if node.op in FUNCTIONS or node.op in ("relu", "relu6"):
            return self.function
        if node.op in ARITHMETIC:
            return self.arithmetic
        if node.op in REDUCTIONS:
            return self.reduction
        found: Callable[[Node], None] | None = getattr(self, f"_{node.op}", None)
        if found is None:
            from ..errors import EdgeclError

            raise EdgeclError(
                f"Operator '{node.op}' at '{node.name}' has no kernel.", "Use the torch engine for this graph."
            )
        return found

    # ---- making nodes
    def keep(self, node: Node) -> None:
        """A node as it is, on whole inputs."""
        inputs = tuple(i if i == self.graph.input else self.whole(i) for i in node.inputs)
        self.nodes.append(Node(node.op, node.name, inputs, node.output, node.parameters, node.attributes))
        self.shapes[node.output] = tuple(self.graph.shapes[node.output])
        self.seen[node.output] = self._whole(node.output)

    def make(self, output: str, shape: tuple[int, ...], *parts: Each | Lines | Product | Rows) -> None:
        """One tensor written by ``parts``, in its own order."""
        kind = {Each: "each", Lines: "lines", Product: "product", Rows: "rows"}[type(parts[0])]
        sources = [s for p in parts for s in p.sources]
        inputs = tuple(s.name for s in sources if not s.parameter)
        parameters = tuple(dict.fromkeys(s.name for s in sources if s.parameter))
        self.nodes.append(Node(kind, output, inputs, output, parameters, {"parts": parts}))
        self.shapes[output] = shape
        self.seen.setdefault(output, Seen(output, View.of_map(shape)))

    def whole(self, name: str) -> str:
        """The tensor that holds ``name`` whole and in its own order, laid out now if there is none."""
        if name in self.shapes:
            return name
        seen, shape = self.seen[name], tuple(self.graph.shapes[name])
        if not seen.parameter and seen.view.plain and name not in self.fetch:
            return seen.name
        self.make(name, shape, Each("identity", View.of_map(shape), (Source(seen.name, seen.view, seen.parameter),)))
        self.seen[name] = Seen(name, View.of_map(shape))
        return name

    def source(self, name: str, view: Callable[[View], View] | None = None) -> Source:
        seen = self.seen[name]
        return Source(seen.name, seen.view if view is None else view(seen.view), seen.parameter)

    def like(self, name: str, of: str, make: Callable[[View], Each | Lines]) -> None:
        """A tensor of the shape of ``of``, laid out as that is: a chain of them keeps a transposed order."""
        seen, shape = self.seen[of], tuple(self.graph.shapes[name])
        order = seen.view.layout() if not seen.parameter and shape == seen.view.sizes else None
        if order is None or order == list(range(len(shape))) or name in self.fetch:
            self.make(name, shape, make(View.of_map(shape)))
            return
        stored = tuple(shape[a] for a in order)
        view = View.of_map(stored).transposed([order.index(a) for a in range(len(order))])
        self.seen[name] = Seen(f"{name}#", view)
        self.make(f"{name}#", stored, make(view))

    # ---- functions
    def function(self, node: Node) -> None:
        (x,) = node.inputs
        if node.op == "relu6":
            name, constants = "clip", [0.0, 6.0]
        elif node.op == "relu":
            name, constants = "relu", []
        else:
            name, constants = node.op, operator(node.op).constants(node.attributes)  # type: ignore[attr-defined]
        alpha, beta = [*constants, 0.0, 0.0][:2]
        self.like(node.output, x, lambda out: Each(name, out, (self.source(x),), alpha, beta))

    def arithmetic(self, node: Node) -> None:
        shape = tuple(self.graph.shapes[node.output])
        sources = tuple(self.source(i, lambda v: v.repeated(shape)) for i in node.inputs)
        full = next((i for i in node.inputs if self.graph.shapes[i] == shape), node.inputs[0])
        self.like(node.output, full, lambda out: Each(node.op, out, sources))

    def _channel_scale(self, node: Node) -> None:
        x, s = node.inputs
        shape = tuple(self.graph.shapes[node.output])
        scale = self.source(s, lambda v: v.selected([0, -1, -1], shape))
        self.like(node.output, x, lambda out: Each("mul", out, (self.source(x), scale)))

    # ---- views
    def _parameter(self, node: Node) -> None:
        shape = tuple(self.graph.shapes[node.output])
        self.seen[node.output] = Seen(node.parameters[0], View.of(shape), True)

    def _see(self, node: Node, view: View | None) -> None:
        (x,) = node.inputs
        assert view is not None
        self.seen[node.output] = Seen(self.seen[x].name, view, self.seen[x].parameter)

    def _transpose(self, node: Node) -> None:
        self._see(node, self.seen[node.inputs[0]].view.transposed(node.attributes["axes"]))

    def _slice(self, node: Node) -> None:
        a = node.attributes
        self._see(node, self.seen[node.inputs[0]].view.sliced(a["start"], a["size"], a["step"]))

    def _expand(self, node: Node) -> None:
        self._see(node, self.seen[node.inputs[0]].view.repeated(tuple(node.attributes["shape"])))

    def _flatten(self, node: Node) -> None:
        self._reshape(node)

    def _reshape(self, node: Node) -> None:
        (x,) = node.inputs
        shape = tuple(self.graph.shapes[node.output])
        view = self.seen[x].view.reshaped(shape)
        if view is not None:
            self._see(node, view)
            return
        stored = self.whole(x)
        if as_map(self.shapes[stored]) == as_map(shape):
            self.seen[node.output] = Seen(stored, View.of_map(shape))
            return
        self.nodes.append(Node("reshape", node.output, (stored,), node.output))
        self.shapes[node.output] = shape
        self.seen[node.output] = self._whole(node.output)

    # ---- lines
    def _parted(self, shape: tuple[int, ...], axes: list[int]) -> list[int]:
        """Axes in the order of an iteration over lines: the others, then ``axes``."""
        return [a for a in range(len(shape)) if a not in axes] + axes

    def reduction(self, node: Node) -> None:
        (x,) = node.inputs
        shape = tuple(self.graph.shapes[x])
        axes = list(operator(node.op).axes(shape, node.attributes))  # type: ignore[attr-defined]
        if not axes:
            constants = (0.0, 0.0) if node.op == "argmax" else (1.0, 0.0)
            self.make(node.output, (), Each("scale_shift", View.of_map(()), (self.source(x),), *constants))
            return
        order = self._parted(shape, axes)
        out = self._reduced(node, shape, axes).transposed(order)
        alpha = float(bool(node.attributes.get("last", False)))
        source = self.source(x, lambda v: v.transposed(order))
        self.make(node.output, tuple(self.graph.shapes[node.output]), Lines(
            REDUCTIONS[node.op], out, (source,), len(axes), alpha))  # fmt: skip

    def _reduced(self, node: Node, shape: tuple[int, ...], axes: list[int]) -> View:
        """The output of a reduction, seen from an iteration over its input."""
        out = tuple(self.graph.shapes[node.output])
        if node.attributes["keep"]:
            return View.of_map(out).selected([-1 if a in axes else a for a in range(len(shape))], shape)
        rest = [a for a in range(len(shape)) if a not in axes]
        return View.of_map(out).selected([rest.index(a) if a in rest else -1 for a in range(len(shape))], shape)

    def _reduce_sum(self, node: Node) -> None:
        self._summed(node, 1.0)

    def _reduce_mean(self, node: Node) -> None:
        (x,) = node.inputs
        shape = tuple(self.graph.shapes[x])
        axes = operator(node.op).axes(shape, node.attributes)  # type: ignore[attr-defined]
        self._summed(node, 1.0 / math.prod(shape[a] for a in axes))

    def _summed(self, node: Node, factor: float) -> None:
        (x,) = node.inputs
        shape = tuple(self.graph.shapes[x])
        axes = list(operator(node.op).axes(shape, node.attributes))  # type: ignore[attr-defined]
        out = self._reduced(node, shape, axes)
        function = "identity" if factor == 1 else "scale_shift"
        part = Each(function, out, (self.source(x),), factor, 0.0, add=bool(axes))
        self.make(node.output, tuple(self.graph.shapes[node.output]), part)

    def _along(self, node: Node, function: str, axes: list[int], parameters: int = 0, alpha: float = 0.0) -> None:
        (x,) = node.inputs
        shape = tuple(self.graph.shapes[x])
        order = self._parted(shape, axes)
        sizes = tuple(shape[a] for a in order)
        sources = [self.source(x, lambda v: v.transposed(order))]
        for name in node.parameters[:parameters]:
            view = View.of(self.graph.parameters[name].shape)
            rest = len(shape) - len(axes)
            at = [-1] * rest + list(range(len(axes)))
            sources.append(Source(name, view.selected(at, sizes), True))
        self.like(node.output, x, lambda out: Lines(function, out.transposed(order), tuple(sources), len(axes), alpha))

    def _softmax(self, node: Node) -> None:
        rank = len(self.graph.shapes[node.inputs[0]])
        self._along(node, node.op, [node.attributes["axis"] % rank])

    _log_softmax = _softmax

    def _layer_norm(self, node: Node) -> None:
        axes = list(operator(node.op).axes(self.graph.shapes[node.inputs[0]], node.attributes))  # type: ignore[attr-defined]
        function, count = ("rms", 1) if node.op == "rms_norm" else ("standardise", 2)
        self._along(node, function, axes, count, float(node.attributes["eps"]))

    _rms_norm = _layer_norm

    def _unit_norm(self, node: Node) -> None:
        shape = self.graph.shapes[node.inputs[0]]
        axes = [a % len(shape) for a in node.attributes["axes"]] or list(range(len(shape)))
        self._along(node, "unit", sorted(axes), 0, float(node.attributes["eps"]))

    # ---- products
    def _matmul(self, node: Node) -> None:
        shape = tuple(self.graph.shapes[node.output])
        names = [self.whole(i) if self.seen[i].parameter else i for i in node.inputs]
        front, inner = shape[:-2], self.graph.shapes[node.inputs[0]][-1]
        sizes = (*shape, inner)
        n = len(front)
        a = self.source(
            names[0], lambda v: v.repeated((*front, *v.sizes[-2:])).selected([*range(n), n, -1, n + 1], sizes)
        )
        b = self.source(
            names[1], lambda v: v.repeated((*front, *v.sizes[-2:])).selected([*range(n), -1, n + 1, n], sizes)
        )
        out = View.of_map(shape).selected([*range(n), n, n + 1, -1], sizes)
        self.make(node.output, shape, Product(out, (a, b), float(node.attributes["scale"])))

    def _linear(self, node: Node) -> None:
        """On tokens: a pointwise convolution over maps whose channels are the features."""
        (x,) = node.inputs
        shape, out = tuple(self.graph.shapes[x]), node.attributes["out"]
        stored = self.features_first(x)
        product = f"{node.output}#"
        grid = as_map((shape[-1], *shape[:-1]))[1:]
        attributes = {
            "out": out, "kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "groups": 1,
            "bias": node.attributes["bias"],
        }  # fmt: skip
        self.nodes.append(Node("conv2d", node.name, (stored,), product, node.parameters, attributes))
        self.shapes[product] = (out, *grid)
        self._features_last(node.output, product, (out, *shape[:-1]))

    def features_first(self, name: str) -> str:
        """The tensor (.., F) as a map (F, ..)."""
        seen, shape = self.seen[name], tuple(self.graph.shapes[name])
        turned = (shape[-1], *shape[:-1])
        view = seen.view.transposed([len(shape) - 1, *range(len(shape) - 1)])
        if not seen.parameter and view.plain:
            return seen.name
        turned_name = f"{name}#turned"
        if turned_name not in self.shapes:
            self.make(turned_name, as_map(turned), Each(
                "identity", View.of_map(turned), (Source(seen.name, view, seen.parameter),)))  # fmt: skip
        return turned_name

    def _features_last(self, name: str, stored: str, turned: tuple[int, ...]) -> None:
        self.seen[name] = Seen(stored, View.of_map(turned).transposed([*range(1, len(turned)), 0]))

    def _recurrent(self, node: Node) -> None:
        (x,) = node.inputs
        steps, hidden = self.graph.shapes[node.output]
        product = f"{node.output}#"
        self.nodes.append(
            Node(node.op, node.name, (self.features_first(x),), product, node.parameters, node.attributes)
        )
        self.shapes[product] = (hidden, 1, steps)
        self._features_last(node.output, product, (hidden, steps))

    _lstm = _gru = _rnn = _recurrent

    def _conv_transpose2d(self, node: Node) -> None:
        """The product, then the bias."""
        shape, product = tuple(self.graph.shapes[node.output]), f"{node.output}#"
        inputs = tuple(self.whole(i) for i in node.inputs)
        weight, bias = node.parameters
        self.nodes.append(Node(node.op, node.name, inputs, product, (weight,), {**node.attributes, "bias": False}))
        self.shapes[product] = shape
        whole = Source(product, View.of_map(shape))
        added = Source(bias, View.of(shape[:1]).selected([0, -1, -1], shape), True)
        self.make(node.output, shape, Each("add", View.of_map(shape), (whole, added)))

    # ---- joining, padding, resampling
    def _concat(self, node: Node) -> None:
        shape = tuple(self.graph.shapes[node.output])
        axis, first, parts = node.attributes["axis"] % len(shape), 0, []
        for i in node.inputs:
            sizes = tuple(self.graph.shapes[i])
            start = [first if a == axis else 0 for a in range(len(shape))]
            parts.append(Each("identity", View.of_map(shape).sliced(start, sizes, [1] * len(shape)), (self.source(i),)))
            first += sizes[axis]
        self.make(node.output, shape, *parts)

    def _pad(self, node: Node) -> None:
        self._padded(node.output, node.inputs[0], tuple(self.graph.shapes[node.output]), node.attributes["before"],
                     float(node.attributes["value"]))  # fmt: skip

    def _padded(self, output: str, x: str, shape: tuple[int, ...], before: list[int], value: float) -> None:
        inside = View.of_map(shape).sliced(before, tuple(self.graph.shapes[x]), [1] * len(shape))
        self.make(output, shape, Each("identity", inside, (self.source(x),), fill=value))

    def _rows(self, output: str, source: Source, shape: tuple[int, ...], axis: int, columns, weights) -> None:
        order = [a for a in range(len(shape)) if a != axis] + [axis]
        view = source.view.transposed(order)
        part = Rows(
            View.of_map(shape).transposed(order), (Source(source.name, view),), columns, weights, view.sizes[-1]
        )
        self.make(output, shape, part)

    def _resample(self, node: Node) -> None:
        (x,) = node.inputs
        if self.seen[x].parameter:
            self.whole(x)
        shape, a = tuple(self.graph.shapes[node.output]), node.attributes
        self._rows(node.output, self.source(x), shape, a["axis"] % len(shape), a["columns"], a["weights"])

    def _avg_pool(self, node: Node) -> None:
        """Means whose windows hold different numbers of values: one axis after the other."""
        (x,) = node.inputs
        c, h, w = self.graph.shapes[x]
        a, (_, oh, ow) = node.attributes, self.graph.shapes[node.output]
        rows, columns = AvgPool().counts((c, h, w), a)
        top, left = a["padding"][:2]
        between = f"{node.output}#rows"
        self._rows(between, self.source(x), (c, oh, w), 1,
                   *_windows(rows, h, a["kernel"][0], a["stride"][0], top))  # fmt: skip
        self._rows(node.output, Source(between, View.of((c, oh, w))), (c, oh, ow), 2,
                   *_windows(columns, w, a["kernel"][1], a["stride"][1], left))  # fmt: skip

    def _max_pool(self, node: Node) -> None:
        """With dilation: lines of the windows of the padded map."""
        (x,) = node.inputs
        c, h, w = self.graph.shapes[x]
        a, (_, oh, ow) = node.attributes, self.graph.shapes[node.output]
        (kh, kw), (sh, sw), (dh, dw) = a["kernel"], a["stride"], a["dilation"]
        top, left = a["padding"][:2]
        height = max(h + top, (oh - 1) * sh + (kh - 1) * dh + 1)
        width = max(w + left, (ow - 1) * sw + (kw - 1) * dw + 1)
        padded, shape = f"{node.output}#padded", (c, height, width)
        self._padded(padded, x, shape, [0, top, left], -3.4028234e38)
        sizes = (c, oh, ow, kh, kw)
        view = View(shape, sizes, (0, 1, 2, 1, 2), (1, sh, sw, dh, dw), (0, 0, 0))
        out = View.of((c, oh, ow)).selected([0, 1, 2, -1, -1], sizes)
        self.make(node.output, (c, oh, ow), Lines("line_max", out, (Source(padded, view),), 2))


def _windows(
    counts: list[int], size: int, kernel: int, stride: int, before: int
) -> tuple[list[list[int]], list[list[float]]]:
    columns = []
    for i in range(len(counts)):
        first = i * stride - before
        columns.append([j for j in range(first, first + kernel) if 0 <= j < size])
    return columns, [[1.0 / n] * len(c) for n, c in zip(counts, columns)]
