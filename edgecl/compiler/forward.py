"""Forward: the operations of a forward pass."""

from __future__ import annotations

from ..errors import EdgeclError
from ..graph import Node
from .buffers import backward_halo, forward_halo
from .emitter import Emitter
from .fusion import Term, Unit
from .operations import AFFINE, CONV, CONV_AFFINE, CONV_INPUT, COPY, GROUP_NORM, NORM, POOL, STATS, geometry
from .runs import strided
from .tensors import TENSOR_UNITS


class Forward(Emitter):
    """Adds the forward pass; arguments as of `Lowering`."""

    def lower_forward(self) -> None:
        # tensor -> the batch norm whose sums its convolution can take along
        self.statistics: dict[str, Node] = {}
        for unit in self.units:
            for t in unit.terms:
                if t.norm is not None:
                    self.statistics.setdefault(t.tensor, t.norm)
        finishers = {} if self.training else self.finishers()
        finished = {u.output for u in finishers.values()}
        for unit in self.units:
            if self.read_through(unit):
                self.norm_forward(unit)
            elif unit.output not in finished:
                self.lower_unit(unit, finishers.get(unit.output))
        for name in self.fetch:
            self.buffers[self.tensors[name]].touch(len(self.forward))

    def lower_unit(self, unit: Unit, finish: Unit | None) -> None:
        """``finish``: the pass behind a convolution that it takes along."""
        node = unit.node
        made = unit.output if finish is None else finish.output
        out = self.tensors[made] = self.new(made)
        ins = [self.tensors[i] for i in unit.inputs if i != self.graph.input]
        if unit.output in self.fused:
            self.conv_forward_fused(unit, ins[0], out)
            return
        if unit.kind in ("conv2d", "linear"):
            self.conv_forward(unit, finish, ins[0], out)
            return
        if unit.kind in TENSOR_UNITS:
            self.emitting.forward(unit, out)
            return
        if unit.kind == "conv_transpose2d":
            self.transposed_forward(unit, ins[0], out)
            return
        if unit.kind == "normalise":
            if node.inputs[0] != self.graph.input:
                raise EdgeclError(
                    f"The normalisation '{node.name}' is not the graph's first node.", "Normalise the input only."
                )
            self.feed = out
            self.buffers[out].touch(0)
        elif unit.kind == "affine":
            self.affine_forward(unit, ins, out)
        elif unit.kind == "group_norm":
            self.emit(False, GROUP_NORM, [self.norm_index[node.name], ins[0], out], [ins[0], out])
        elif unit.kind in ("avg_pool", "max_pool", "global_avg_pool"):
            self.emit(False, POOL, [ins[0], out, *self.pool_arguments(node)], [ins[0], out])
        elif unit.kind in ("flatten", "dropout"):
            factor = -1
            if unit.kind == "dropout" and self.training:
                factor = self.factors[node.name] = self.new(unit.output)
                self.buffers[factor].touch(0)
            self.emit(False, COPY, [out, ins[0], factor, 0], [out, ins[0], factor])
        else:
            raise EdgeclError(
                f"Operator '{unit.kind}' at '{node.name}' has no kernel.", "Use the torch engine for this graph."
            )
        self.buffers[out].clean = True

    # ---- convolutions ----------------------------------------------------------------------------------------
    def conv_forward(self, unit: Unit, finish: Unit | None, source: int, out: int) -> None:
        node, g, o = unit.node, geometry(self.graph, unit.node), self.buffers[out]
        w, norm = self.weight_index[node.name], self.statistics.get(unit.output)
        in_phases = o.pitch > 0 and strided(g)
        x = self.split(False, node, source) if in_phases else source
        if not in_phases and not self.direct:
            b = self.buffers[x]
            b.need_halo(
                *forward_halo(b.height, o.height, g[2], g[4], g[6]),
                *forward_halo(b.width, o.width, g[3], g[5], g[7]),
            )
        self.clean_halo(False, x)
        n = self.norm_index[norm.name] if norm is not None and norm.name in self.counting else -1
        takes_sums = o.height * o.width > 1
        if finish is None:
            self.emit(False, CONV, [w, x, out, n if takes_sums else -1], [x, out])
        else:
            self.conv_affine(unit, finish, x, out)
        o.between = o.pitch > 0
        self.planes[node.name] = (x, -1)
        if n >= 0 and not takes_sums:
            self.emit(False, STATS, [n, out], [out])

    def transposed_forward(self, unit: Unit, x: int, out: int) -> None:
        """The input gradient of a convolution, run forward."""
        g, b, o = geometry(self.graph, unit.node), self.buffers[x], self.buffers[out]
        b.need_halo(
            *backward_halo(o.height, b.height, g[2], g[4], g[6]), *backward_halo(o.width, b.width, g[3], g[5], g[7])
        )
        self.clean_halo(False, x)
        self.emit(False, CONV_INPUT, [self.weight_index[unit.node.name], x, out, 0, 0, 0, -1, -1, -1], [x, out])
        self.planes[unit.node.name] = (x, -1)

    def conv_affine(self, unit: Unit, finish: Unit, x: int, out: int) -> None:
        """A convolution of a prediction and the pass behind it."""
        own = next(t for t in finish.terms if t.tensor == unit.output)
        other = [t for t in finish.terms if t is not own]
        args = [self.weight_index[unit.node.name], x, out, finish.activation, self.norm_of(own)]
        args += [self.tensors[other[0].tensor], self.norm_of(other[0])] if other else [-1, -1]
        self.emit(False, CONV_AFFINE, args, [x, out, args[5]])

    def conv_forward_fused(self, unit: Unit, x: int, out: int) -> None:
        """Depthwise and pointwise convolutions, which read through a normalisation."""
        _, n, activation = self.through.get(unit.inputs[0], (x, -1, 0))
        norm = self.statistics.get(unit.output)
        stats = self.norm_index[norm.name] if norm is not None and norm.name in self.counting else -1
        args = [self.weight_index[unit.node.name], x, out, stats, n, activation]
        self.emit(False, self.fused[unit.output], args, [x, out])
        self.own_planes[unit.node.name] = [self.scratch_plane(unit), None]

    def finishers(self) -> dict[str, Unit]:
        """Convolutions of a prediction, by output, that take the pass behind them along: the last one before it."""
        made = {u.output: i for i, u in enumerate(self.units)}
        out = {}
        for unit in self.units:
            if unit.kind != "affine" or unit.function is not None or self.read_through(unit):
                continue
            last = max((t.tensor for t in unit.terms), key=lambda t: made.get(t, -1))
            producer = self.units[made[last]] if last in made else None
            alone = sum(n.inputs.count(last) for n in self.graph.nodes) == 1 and last not in self.fetch
            if producer and producer.kind in ("conv2d", "linear") and last not in self.fused and alone:
                out[last] = unit
        return out

    # ---- normalisations --------------------------------------------------------------------------------------
    def norm_of(self, term: Term) -> int:
        return -1 if term.norm is None else self.norm_index[term.norm.name]

    def norm_forward(self, unit: Unit) -> None:
        """A normalisation that whoever comes next reads through: its factors only."""
        term = unit.terms[0]
        b, n = self.tensors[term.tensor], self.norm_of(term)
        self.own_sums(term, b)
        self.emit(False, NORM, [n, b], [b])
        self.through[unit.output] = (b, n, unit.activation)
        self.tensors[unit.output] = b

    def affine_forward(self, unit: Unit, ins: list[int], out: int) -> None:
        terms: list[int] = []
        for t, b in zip(unit.terms, ins):
            self.own_sums(t, b)
            terms += [b, self.norm_of(t)]
        terms += [-1, -1] * (2 - len(unit.terms))
        self.emit(False, AFFINE, [out, unit.activation, *terms], [out, *ins])
        if unit.function is not None:
            self.emitting.in_place(False, unit, out)

    def own_sums(self, term: Term, b: int) -> None:
        """The sums of a batch norm that no convolution took along."""
        by_conv = self.statistics.get(term.tensor) is term.norm and self.produced_by_conv(term.tensor)
        if term.norm is not None and term.norm.name in self.counting and not by_conv:
            self.emit(False, STATS, [self.norm_of(term), b], [b])

    def read_through(self, unit: Unit) -> bool:
        """Is this a normalisation (and activation) that only convolutions consume which can read through it?"""
        if unit.kind != "affine" or unit.function is not None or unit.output in self.fetch:
            return False
        if len(unit.terms) > 1 or unit.terms[0].norm is None:
            return False
        consumers = [u.output for u in self.units if unit.output in u.inputs]
        return bool(consumers) and all(c in self.fused for c in consumers)
