"""Tensor operations of a program: what the primitives of `expand` become, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..graph import Graph
from .buffers import Buffer
from .fusion import Unit
from .operations import EACH, FUNCTIONS, LINES, PRODUCT, RECUR, RECUR_BACK, RESAMPLE, RESHAPE
from .primitives import GATES, LINE_DERIVATIVES, Each, Lines, Product, Rows, Source, derivatives
from .views import ADD, CLEAR_HALO, FILL, FILL_ALPHA, GRADIENTS, MAP, NOTHING, STORE, VALUES, View, bits


class Low(Protocol):
    """What these operations need of the lowering that they are emitted into (see `Emitter` and `Backward`)."""

    graph: Graph
    buffers: list[Buffer]
    tensors: dict[str, int]
    gradients: dict[str, int]
    remaining: dict[str, int]
    upstream: dict[str, bool]
    trained: list[str]
    tensor_index: dict[str, int]
    weight_index: dict[str, int]
    own_planes: dict[str, list[list[int] | None]]

    def add(self, b: Buffer, pitch: int) -> int: ...
    def emit(self, backward: bool, code: int, args: list[int], touched: Sequence[int]) -> None: ...
    def kept(self, tensor: str) -> int: ...
    def contribute(self, tensor: str) -> tuple[int, int]: ...
    def map_shape(self, tensor: str) -> tuple[int, int, int]: ...


Operand = tuple[int, int, View]  # kind, index, view
TENSOR_UNITS = ("each", "lines", "product", "rows", "reshape", *GATES)


class TensorEmitter:
    """Emits the tensor operations of one entry point into a lowering."""

    def __init__(self, lowering: Low) -> None:
        self.low = lowering
        self.kept_gates: dict[str, tuple[int, int]] = {}  # of recurrent layers: gates, cells

    # ---- operands
    def _operand(self, source: Source, view: View | None = None) -> Operand:
        view = source.view if view is None else view
        if source.parameter:
            return VALUES, self.low.tensor_index[source.name], view
        return MAP, self.low.tensors[source.name], view

    def _emit(
        self, backward: bool, code: int, head: Callable[[list[int]], list[int]], operands: Sequence[Operand], tail=()
    ) -> None:
        """``head`` makes the first arguments from the operands' maps, -1 for parameters."""
        maps = [index if kind == MAP else -1 for kind, index, _ in operands]
        sizes = operands[0][2].sizes or (1,)
        spec = [len(sizes), *sizes, len(operands) - 1]
        for kind, index, view in operands:
            if not view.sizes:  # of no axis: one of size 1
                view = view.repeated((1,))
            spec += view.numbers(kind, 0 if kind == MAP else index)
        self.low.emit(backward, code, [*head(maps), *spec, *tail], maps)

    def each(
        self, backward: bool, function: str, operands: Sequence[Operand], how: int, begin: int, alpha=0.0, beta=0.0
    ) -> None:
        def head(maps: list[int]) -> list[int]:
            maps = [*maps, -1, -1, -1, -1][:5]
            return [*maps, FUNCTIONS[function], how, begin, bits(alpha), bits(beta)]

        self._emit(backward, EACH, head, operands)

    def lines(
        self, backward: bool, function: str, operands: Sequence[Operand], how: int, begin: int, alpha: float, line: int
    ) -> None:
        def head(maps: list[int]) -> list[int]:
            maps = [*maps, -1, -1, -1, -1][:5]
            return [*maps, FUNCTIONS[function], how, begin, bits(alpha), line]

        self._emit(backward, LINES, head, operands)

    # ---- forward
    def forward(self, unit: Unit, out: int) -> None:
        node, low = unit.node, self.low
        if unit.kind == "reshape":
            x = low.tensors[unit.inputs[0]]
            low.emit(False, RESHAPE, [out, x, 0], [out, x])
        elif unit.kind in GATES:
            self._recur(unit, out)
        else:
            begin = CLEAR_HALO
            for part in node.attributes["parts"]:
                self._forward_part(part, out, begin)
                begin = NOTHING
        low.buffers[out].clean = True

    def _forward_part(self, part: Each | Lines | Product | Rows, out: int, begin: int) -> None:
        operands = [(MAP, out, part.out), *(self._operand(s) for s in part.sources)]
        if isinstance(part, Each):
            how, alpha = ADD if part.add else STORE, part.alpha
            if part.add or part.fill == 0:
                begin = FILL
            elif part.fill is not None:
                begin, alpha = FILL_ALPHA, part.fill
            self.each(False, part.function, operands, how, begin, alpha, part.beta)
        elif isinstance(part, Lines):
            self.lines(False, part.function, operands, STORE, begin, part.alpha, part.line)
        elif isinstance(part, Product):
            self._emit(False, PRODUCT, lambda m: [*m, STORE, begin, bits(part.alpha)], operands)
        else:
            self._emit(False, RESAMPLE, lambda m: [*m, STORE, begin], operands, part.numbers())

    def _recur(self, unit: Unit, out: int) -> None:
        node, low = unit.node, self.low
        x = low.tensors[unit.inputs[0]]
        channels, _, steps = low.map_shape(unit.inputs[0])
        hidden = node.attributes["hidden"]
        kept = low.add(Buffer(4 * hidden if node.op == "gru" else channels, 1, steps), 0)
        cell = low.add(Buffer(hidden, 1, steps), 0) if node.op == "lstm" else -1
        self.kept_gates[node.name] = kept, cell
        low.emit(False, RECUR, self._recur_arguments(unit, x, out), [x, out, kept, cell])
        low.own_planes[node.name] = [[1, 1, 0, 0], None]

    def _recur_arguments(self, unit: Unit, x: int, y: int) -> list[int]:
        node, low = unit.node, self.low
        a = node.attributes
        return [
            x, y, *self.kept_gates[node.name], low.weight_index[node.name], low.tensor_index[node.parameters[1]],
            GATES[node.op], int(a["reverse"]), int(a.get("reset_after", True)),
        ]  # fmt: skip

    def in_place(self, backward: bool, unit: Unit, buffer: int) -> None:
        """The function behind a pass over normalisations and summands, in its own buffer."""
        part = unit.function
        assert part is not None
        operand = (MAP, buffer, part.out)
        self.each(backward, part.function, [operand, operand], STORE, NOTHING, part.alpha, part.beta)

    def through(self, unit: Unit, g: int, value: int) -> None:
        """Its gradient, in place: ``value`` holds its output or input."""
        part = unit.function
        assert part is not None
        operands = [(MAP, b, part.out) for b in (g, g, value)]
        self.each(True, f"d_{part.function}", operands, STORE, NOTHING, part.alpha, part.beta)

    # ---- backward
    def backward(self, unit: Unit, g: int) -> None:
        node, low = unit.node, self.low
        if unit.kind == "reshape":
            (x,) = unit.inputs
            if low.upstream[x]:
                dx, accumulate = low.contribute(x)
                low.emit(True, RESHAPE, [dx, g, accumulate], [dx, g])
                self._written(dx, accumulate)
        elif unit.kind in GATES:
            self._recur_back(unit, g)
        else:
            for part in node.attributes["parts"]:
                for k, source in enumerate(part.sources):
                    if self._wanted(source):
                        self._backward_operand(unit, part, k, g)

    def _wanted(self, source: Source) -> bool:
        if source.parameter:
            return source.name in self.low.trained
        return self.low.upstream[source.name]

    def _written(self, dx: int, accumulate: int) -> None:
        if not accumulate:
            self.low.buffers[dx].clean = True

    def _backward_operand(self, unit: Unit, part: Each | Lines | Product | Rows, k: int, g: int) -> None:
        source = part.sources[k]
        rule = None
        if isinstance(part, Each):
            rule = derivatives(part.function)[k]
        elif isinstance(part, Lines):
            rule = LINE_DERIVATIVES[part.function][k]
        if rule is None and isinstance(part, (Each, Lines)):
            if not source.parameter:
                self._no_gradient(source)
            return
        view = source.view
        if isinstance(part, Product):
            view = _product_views(part, k)[0]
        if source.parameter:
            target: Operand = (GRADIENTS, self.low.tensor_index[source.name], view)
            how, begin, accumulate, dx = ADD, NOTHING, 1, -1
        else:
            dx, accumulate = self.low.contribute(source.name)
            target = (MAP, dx, view)
            how, begin = (ADD, NOTHING) if accumulate else (STORE, CLEAR_HALO)
            if not view.once():
                how, begin = ADD, (NOTHING if accumulate else FILL)
            elif not view.everywhere() and not accumulate:
                begin = FILL
        if isinstance(part, Product):
            _, first, second = _product_views(part, k)
            other = self._kept(part.sources[1 - k], first if k else second)
            gradient = (MAP, g, second if k else first)
            pair = [other, gradient] if k else [gradient, other]
            self._emit(True, PRODUCT, lambda m: [*m, how, begin, bits(part.alpha)], [target, *pair])
        elif isinstance(part, Rows):
            self._rows_back(part, target, g, how, begin)
        else:
            assert rule is not None
            function, letters = rule
            operands = [target, *(self._argument(unit, part, letter, g) for letter in letters)]
            if isinstance(part, Each) or function == "identity":
                alpha = part.alpha if isinstance(part, Each) else 0.0
                beta = part.beta if isinstance(part, Each) else 0.0
                self.each(True, function, operands, how, begin, alpha, beta)
            else:
                self.lines(True, function, operands, how, begin, part.alpha, part.line)
        if dx >= 0:
            self._written(dx, accumulate)

    def _no_gradient(self, source: Source) -> None:
        """One contribution less to come: this one is zero."""
        low = self.low
        if low.remaining[source.name] > 1 or source.name in low.gradients:
            low.remaining[source.name] -= 1
            return
        dx, _ = low.contribute(source.name)
        view = View.of_map(low.graph.shapes[source.name])
        self.each(True, "scale_shift", [(MAP, dx, view), (MAP, low.kept(source.name), view)], STORE, CLEAR_HALO)
        self._written(dx, 0)

    def _argument(self, unit: Unit, part: Each | Lines, letter: str, g: int) -> Operand:
        if letter == "g":
            return MAP, g, part.out
        if letter == "y":
            return MAP, self.low.kept(unit.output), part.out
        return self._kept(part.sources["abc".index(letter)])

    def _kept(self, source: Source, view: View | None = None) -> Operand:
        if source.parameter:
            return self._operand(source, view)
        return MAP, self.low.kept(source.name), source.view if view is None else view

    def _rows_back(self, part: Rows, target: Operand, g: int, how: int, begin: int) -> None:
        self._emit(True, RESAMPLE, lambda m: [*m, how, begin], [target, (MAP, g, part.out)], part.numbers(part.size))

    def _recur_back(self, unit: Unit, g: int) -> None:
        node, low = unit.node, self.low
        (source,) = unit.inputs
        x, y = low.tensors[source], low.kept(unit.output)
        fresh = low.upstream[source] and source not in low.gradients
        dx = low.contribute(source)[0] if fresh else low.add(Buffer(*low.map_shape(source)), 0)
        own_product = node.op == "gru" and node.attributes["reset_after"]
        dp = low.add(Buffer(*low.map_shape(source)), 0) if own_product else dx
        args = [*self._recur_arguments(unit, x, y), g, dx, dp]
        low.emit(True, RECUR_BACK, args, [x, y, *self.kept_gates[node.name], g, dx, dp])
        low.buffers[dx].clean = True
        if low.upstream[source] and not fresh:
            total, _ = low.contribute(source)
            view = View.of_map(low.graph.shapes[source])
            self.each(True, "identity", [(MAP, total, view), (MAP, dx, view)], ADD, NOTHING)


def _product_views(part: Product, k: int) -> tuple[View, View, View]:
    """Of the gradient by operand k: views of it and of the two factors, over (.., rows, columns, inner)."""
    front = list(range(len(part.out.sizes) - 3))
    m, n, i = (len(front) + j for j in range(3))
    order = [*front, m, i, n] if k == 0 else [*front, i, n, m]
    a, b = (s.view.transposed(order) for s in part.sources)
    g = part.out.transposed(order)
    # by a: g [m, n] x b [k, n]; by b: a [m, k] turned, g [m, n]
    return (a, g, b) if k == 0 else (b, a, g)
