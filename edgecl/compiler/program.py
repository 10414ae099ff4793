"""Program: the native engine's operations and buffers of one entry point, in plain numbers.

Operation codes and arguments are those of kernels/program.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import EdgeclError
from ..graph import Graph, Node
from .buffers import Buffer, backward_halo, forward_halo, place
from .fusion import Term, Unit, fuse
from .runs import Pitches, geometry, phases, strided
from .saved import RESTORE as RESTORE
from .saved import SAVE as SAVE
from .saved import save_in_16_bits

CONV, STATS, AFFINE, GROUP_NORM, COPY, POOL, HALO, AFFINE_AGAIN = 0, 1, 2, 3, 4, 5, 6, 7
NORM, DEPTH, POINT, SPLIT, CONV_AFFINE = 8, 9, 10, 11, 13
CONV_WEIGHT, CONV_INPUT, MASK, NORM_INPUT, GROUP_NORM_INPUT, POOL_INPUT, BIAS = 16, 17, 18, 19, 20, 21, 22
NORM_GRADIENT, DEPTH_BACKWARD, POINT_BACKWARD, MERGE = 23, 24, 25, 26
BACKWARD = {DEPTH: DEPTH_BACKWARD, POINT: POINT_BACKWARD}

PAGE = 4096
POINT_POSITIONS = 32  # smaller maps go to the general kernel, which can tile over samples


def as_map(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of a tensor; a vector is F maps of one position."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def fused_code(graph: Graph, node: Node) -> int | None:
    """DEPTH or POINT where a convolution has a kernel that reads through normalisations; else None. It depends on
    the layer alone, so that all entry points of a plan agree.
    """
    if node.op != "conv2d":
        return None
    out, channels, *window, groups = geometry(graph, node)
    if groups > 1 and groups == out == channels:
        return DEPTH
    _, h, w = as_map(graph.shapes[node.output])
    return POINT if groups == 1 and window == [1, 1, 1, 1, 0, 0] and h * w >= POINT_POSITIONS else None


class Lowering:
    """Lowers a graph for ``blocks`` blocks of ``lanes`` samples; ``training`` adds the backward pass.

    ``recompute``: activations that follow from kept convolution outputs alone are not kept but made again in the
    backward pass, to the same bits. ``half``: what waits for the backward pass waits in 16 bits (saved.py).

    Depthwise and pointwise convolutions read through normalisations: an activation that only they consume, and the
    gradient behind the normalisation that follows them, have no buffer at all.
    """

    def __init__(
        self,
        graph: Graph,
        blocks: int,
        lanes: int,
        training: bool,
        fetch: Sequence[str],
        recompute: bool = False,
        half: bool = False,
    ) -> None:
        self.graph, self.blocks, self.lanes, self.training = graph, blocks, lanes, training
        self.recompute, self.half = recompute, half
        self.again: dict[str, int] = {}
        self.seeds: dict[str, int] = {}
        self.fetch = tuple(fetch)
        self.units = fuse(graph, set(fetch))
        self.affine = {u.output: u for u in self.units if u.kind == "affine"}
        self.buffers: list[Buffer] = []
        self.forward: list[list[Any]] = []
        self.backward: list[list[Any]] = []
        self.tensors: dict[str, int] = {}
        self.gradients: dict[str, int] = {}
        self.factors: dict[str, int] = {}
        self.weights = [n for n in graph.nodes if n.op in ("conv2d", "linear")]
        self.norms = [n for n in graph.nodes if n.op in ("batch_norm", "group_norm")]
        self.weight_index = {n.name: i for i, n in enumerate(self.weights)}
        self.norm_index = {n.name: i for i, n in enumerate(self.norms)}
        # Parameters in graph order, trained ones only: the optimizer's and the flat gradient's order.
        self.trained = [p.name for p in graph.parameters.values() if p.trained]
        self.planes: dict[str, tuple[int, int]] = {}
        self.own_planes: dict[str, list[list[int] | None]] = {}  # of the convolutions with scratch of their own
        self.fused = {n.output: c for n in self.weights if (c := fused_code(graph, n)) is not None}
        self.gathered = self.pointwise_tensors()
        self.pitches = Pitches(graph, self.units, self.fused, lanes)
        self.through: dict[str, tuple[int, int, int]] = {}  # tensors read through a norm: buffer, norm, activation
        self.deferred: dict[str, tuple[int, int]] = {}  # gradients read through a norm: norm, its input's buffer

    def pointwise_tensors(self) -> set[str]:
        """Tensors that pointwise convolutions read or write, themselves or through a normalisation."""
        names = set()
        for unit in self.units:
            if self.fused.get(unit.output) == POINT:
                names |= {unit.output, *unit.inputs}
                source = self.affine.get(unit.inputs[0])
                names |= {t.tensor for t in source.terms} if source is not None else set()
        return names

    # ---- helpers ---------------------------------------------------------------------------------------------
    def new(self, tensor: str) -> int:
        """A buffer for a tensor or its gradient."""
        b = Buffer(*as_map(self.graph.shapes[tensor]))
        if tensor in self.gathered and b.height * b.width * self.lanes * 4 % PAGE == 0:
            b.bottom = 1  # planes a power of two apart would share few sets of the caches
        return self.add(b, self.pitches.of(tensor))

    def add(self, b: Buffer, pitch: int) -> int:
        if pitch:
            from .. import _kernels

            b.pitch, b.spare = pitch, -(-(_kernels.lanes()[0] // self.lanes - 1) // pitch)
        self.buffers.append(b)
        return len(self.buffers) - 1

    def split(self, backward: bool, node: Node, x: int) -> int:
        """The input of a strided convolution in runs, cut into phases."""
        g = geometry(self.graph, node)
        count, rows, columns = phases(g, *as_map(self.graph.shapes[node.output])[1:])
        out = self.add(Buffer(g[1], count * rows, columns), self.pitches.of(node.output))
        self.emit(backward, SPLIT, [self.weight_index[node.name], x, out, rows], [x, out])
        self.buffers[out].clean = True
        return out

    def emit(self, backward: bool, code: int, args: list[int], touched: Sequence[int]) -> None:
        (self.backward if backward else self.forward).append([code, args])
        for b in touched:
            if b >= 0:
                self.buffers[b].touch(self.now)

    @property
    def now(self) -> int:
        """Index of the operation emitted last, over forward then backward; loads between the two count as one."""
        return len(self.forward) - 1 if not self.backward else len(self.forward) + len(self.backward)

    def clean_halo(self, backward: bool, b: int) -> None:
        buffer = self.buffers[b]
        if buffer.has_halo and not buffer.clean:
            self.emit(backward, HALO, [b, int(buffer.between)], [b])
            buffer.clean = True

    def pool_arguments(self, node: Node) -> list[int]:
        if node.op == "global_avg_pool":
            _, h, w = as_map(self.graph.shapes[node.inputs[0]])
            return [h, w, h, w, 0, 0, 0]
        a = node.attributes
        return [*a["kernel"], *a["stride"], *a["padding"], int(node.op == "max_pool")]

    # ---- forward ---------------------------------------------------------------------------------------------
    def lower_forward(self) -> None:
        statistics: dict[str, Node] = {}  # tensor -> the batch norm whose sums its convolution can take along
        for unit in self.units:
            for t in unit.terms:
                if t.norm is not None:
                    statistics.setdefault(t.tensor, t.norm)
        finishers = {} if self.training else self.finishers()
        finished = {u.output for u in finishers.values()}
        for unit in self.units:
            node = unit.node
            if self.read_through(unit):
                norm = unit.terms[0].norm
                assert norm is not None
                b, n = self.tensors[unit.terms[0].tensor], self.norm_index[norm.name]
                by_conv = statistics.get(unit.terms[0].tensor) is norm and self.produced_by_conv(unit.terms[0].tensor)
                if self.training and not by_conv:
                    self.emit(False, STATS, [n, b], [b])
                self.emit(False, NORM, [n, b], [b])
                self.through[unit.output] = (b, n, unit.activation)
                self.tensors[unit.output] = b
                continue
            if unit.output in finished:
                continue
            finish = finishers.get(unit.output)
            out = self.new(unit.output if finish is None else finish.output)
            self.tensors[unit.output if finish is None else finish.output] = out
            ins = [self.tensors[i] for i in unit.inputs if i != self.graph.input]
            if unit.kind == "normalise":
                if unit.node.inputs[0] != self.graph.input:
                    raise EdgeclError(
                        f"The normalisation '{node.name}' is not the graph's first node.", "Normalise the input only."
                    )
                self.feed = out
                self.buffers[out].clean = True
                self.buffers[out].touch(0)
            elif unit.output in self.fused:
                self.conv_forward_fused(unit, ins[0], out, statistics.get(unit.output))
            elif unit.kind in ("conv2d", "linear"):
                g = geometry(self.graph, node)
                o = self.buffers[out]
                xb = self.split(False, node, ins[0]) if o.pitch and strided(g) else ins[0]
                x = self.buffers[xb]
                if xb == ins[0]:
                    x.need_halo(
                        *forward_halo(x.height, o.height, g[2], g[4], g[6]),
                        *forward_halo(x.width, o.width, g[3], g[5], g[7]),
                    )
                self.clean_halo(False, xb)
                norm = statistics.get(unit.output)
                fused = norm is not None and self.training and o.height * o.width > 1
                stats = self.norm_index[norm.name] if norm is not None and fused else -1
                if finish is None:
                    self.emit(False, CONV, [self.weight_index[node.name], xb, out, stats], [xb, out])
                else:
                    self.conv_affine(unit, finish, xb, out)
                o.between = o.pitch > 0
                self.planes[node.name] = (xb, -1)
                if norm is not None and self.training and not fused:
                    self.emit(False, STATS, [self.norm_index[norm.name], out], [out])
            elif unit.kind == "affine":
                terms: list[int] = []
                for t, b in zip(unit.terms, ins):
                    n = -1 if t.norm is None else self.norm_index[t.norm.name]
                    by_conv = statistics.get(t.tensor) is t.norm and self.produced_by_conv(t.tensor)
                    if n >= 0 and self.training and not by_conv:
                        self.emit(False, STATS, [n, b], [b])
                    terms += [b, n]
                terms += [-1, -1] * (2 - len(unit.terms))
                self.emit(False, AFFINE, [out, unit.activation, *terms], [out, *ins])
                self.buffers[out].clean = True
            elif unit.kind == "group_norm":
                self.emit(False, GROUP_NORM, [self.norm_index[node.name], ins[0], out], [ins[0], out])
                self.buffers[out].clean = True
            elif unit.kind in ("avg_pool", "max_pool", "global_avg_pool"):
                self.emit(False, POOL, [ins[0], out, *self.pool_arguments(node)], [ins[0], out])
                self.buffers[out].clean = True
            elif unit.kind in ("flatten", "dropout"):
                factor = -1
                if unit.kind == "dropout" and self.training:
                    factor = self.factors[node.name] = self.new(unit.output)
                    self.buffers[factor].touch(0)
                self.emit(False, COPY, [out, ins[0], factor, 0], [out, ins[0], factor])
                self.buffers[out].clean = True
            else:
                raise EdgeclError(
                    f"Operator '{unit.kind}' at '{node.name}' has no kernel.", "Use the torch engine for this graph."
                )
        for name in self.fetch:
            if name not in self.tensors:
                raise EdgeclError(
                    f"There is no tensor '{name}' to fetch in graph '{self.graph.name}'.",
                    f"Tensors: {', '.join(self.tensors)}.",
                )
            self.buffers[self.tensors[name]].touch(len(self.forward))

    def read_through(self, unit: Unit) -> bool:
        """Is this a normalisation (and activation) that only convolutions consume which can read through it?"""
        if unit.kind != "affine" or len(unit.terms) > 1 or unit.terms[0].norm is None or unit.output in self.fetch:
            return False
        consumers = [u.output for u in self.units if unit.output in u.inputs]
        return bool(consumers) and all(c in self.fused for c in consumers)

    def finishers(self) -> dict[str, Unit]:
        """Convolutions of a prediction, by output, that take the pass behind them along: the last one before it."""
        made = {u.output: i for i, u in enumerate(self.units)}
        out = {}
        for unit in self.units:
            if unit.kind != "affine" or self.read_through(unit):
                continue
            last = max((t.tensor for t in unit.terms), key=lambda t: made.get(t, -1))
            producer = self.units[made[last]] if last in made else None
            alone = sum(n.inputs.count(last) for n in self.graph.nodes) == 1 and last not in self.fetch
            if producer and producer.kind in ("conv2d", "linear") and last not in self.fused and alone:
                out[last] = unit
        return out

    def conv_affine(self, unit: Unit, finish: Unit, x: int, out: int) -> None:
        def norm(t: Term) -> int:
            return -1 if t.norm is None else self.norm_index[t.norm.name]

        own = next(t for t in finish.terms if t.tensor == unit.output)
        other = [t for t in finish.terms if t is not own]
        args = [self.weight_index[unit.node.name], x, out, finish.activation, norm(own)]
        args += [self.tensors[other[0].tensor], norm(other[0])] if other else [-1, -1]
        self.emit(False, CONV_AFFINE, args, [x, out, args[5]])

    def conv_forward_fused(self, unit: Unit, x: int, out: int, norm: Node | None) -> None:
        _, n, activation = self.through.get(unit.inputs[0], (x, -1, 0))
        stats = self.norm_index[norm.name] if norm is not None and self.training else -1
        args = [self.weight_index[unit.node.name], x, out, stats, n, activation]
        self.emit(False, self.fused[unit.output], args, [x, out])
        self.own_planes[unit.node.name] = [self.scratch_plane(unit), None]

    def scratch_plane(self, unit: Unit) -> list[int]:
        """The plane that a fused convolution's index lists count in: a run of positions, or a map with its halo."""
        if self.fused[unit.output] == POINT:
            from .. import _kernels

            return [1, _kernels.point_positions(self.lanes), 0, 0]
        g = geometry(self.graph, unit.node)
        _, h, w = as_map(self.graph.shapes[unit.inputs[0]])
        _, oh, ow = as_map(self.graph.shapes[unit.output])
        top, bottom = forward_halo(h, oh, g[2], g[4], g[6])
        left, right = forward_halo(w, ow, g[3], g[5], g[7])
        return [top + h + bottom, left + w + right, top, left]

    def kept(self, tensor: str) -> int:
        """The buffer that holds a tensor's value in the backward pass."""
        unit = self.affine.get(tensor)
        if not self.recompute or unit is None or any(t.norm is None for t in unit.terms):
            return self.tensors[tensor]
        if tensor not in self.again:
            out = self.new(tensor)
            old, new = self.buffers[self.tensors[tensor]], self.buffers[out]
            new.need_halo(old.top, old.bottom, old.left, old.right)  # the lists' offsets hold for this geometry
            args = [out, unit.activation]
            for t in unit.terms:
                assert t.norm is not None
                args += [self.tensors[t.tensor], self.norm_index[t.norm.name]]
            args += [-1, -1] * (2 - len(unit.terms))
            self.emit(True, AFFINE_AGAIN, args, [out, args[2], args[4]])
            self.again[tensor] = out
        return self.again[tensor]

    def produced_by_conv(self, tensor: str) -> bool:
        return any(u.output == tensor and u.kind in ("conv2d", "linear") for u in self.units)

    # ---- backward --------------------------------------------------------------------------------------------
    def lower_backward(self) -> None:
        graph = self.graph
        upstream: dict[str, bool] = {graph.input: False}  # does the tensor depend on a trained parameter?
        for node in graph.nodes:
            upstream[node.output] = any(upstream[i] for i in node.inputs) or any(
                graph.parameters[p].trained for p in node.parameters
            )
        reached: set[str] = set(self.fetch)  # tensors that can receive a gradient
        remaining: dict[str, int] = {}  # contributions still to come
        for unit in reversed(self.units):
            if unit.output in reached:
                for i in unit.inputs:
                    if upstream[i]:
                        reached.add(i)
                        remaining[i] = remaining.get(i, 0) + 1
        masked: set[str] = set()
        grads = self.gradients
        load = len(self.forward)  # seeds are loaded between the passes
        for name in self.fetch:
            if upstream[name]:
                grads[name] = self.new(name)
                self.buffers[grads[name]].touch(load)
                self.buffers[grads[name]].clean = True
        self.seeds = dict(grads)

        def contribute(tensor: str) -> tuple[int, int]:
            """(gradient buffer, accumulate flag) for one more contribution to a tensor."""
            remaining[tensor] -= 1
            if tensor in grads:
                return grads[tensor], 1
            grads[tensor] = self.new(tensor)
            return grads[tensor], 0

        def take_over(tensor: str, g: int) -> bool:
            """Lets a tensor's gradient be buffer ``g`` from now on, when nothing was added to it yet."""
            if tensor in grads:
                return False
            remaining[tensor] -= 1
            grads[tensor] = g
            return True

        for unit in reversed(self.units):
            if unit.output not in reached or unit.output not in grads or unit.kind == "normalise":
                continue
            g = grads[unit.output]
            node = unit.node
            if unit.output in self.fused:
                self.conv_backward_fused(unit, g, upstream, masked, remaining, contribute)
            elif unit.kind in ("conv2d", "linear"):
                self.conv_backward(unit, g, upstream, masked, remaining, contribute)
            elif unit.kind == "affine":
                self.affine_backward(unit, g, upstream, masked, contribute, take_over)
            else:
                x = node.inputs[0]
                if not upstream[x]:
                    continue
                dx, accumulate = contribute(x)
                if unit.kind == "group_norm":
                    xb = self.tensors[x]
                    args = [self.norm_index[node.name], dx, g, xb, accumulate]
                    self.emit(True, GROUP_NORM_INPUT, args, [dx, g, xb])
                elif unit.kind in ("flatten", "dropout"):
                    factor = self.factors.get(node.name, -1)
                    self.emit(True, COPY, [dx, g, factor, accumulate], [dx, g, factor])
                else:
                    kept = self.kept(x) if unit.kind == "max_pool" else -1
                    args = [dx, g, *self.pool_arguments(node), kept, accumulate]
                    self.emit(True, POOL_INPUT, args, [dx, g, kept])
                if not accumulate:
                    self.buffers[dx].clean = True

    def conv_backward(self, unit: Unit, dy: int, upstream, masked, remaining, contribute) -> None:
        node = unit.node
        x = node.inputs[0]
        w = self.weight_index[node.name]
        xb = self.kept(x)
        g = geometry(self.graph, node)
        b, o = self.buffers[xb], self.buffers[dy]
        in_phases = o.pitch > 0 and strided(g)
        if upstream[x]:
            o.need_halo(
                *backward_halo(b.height, o.height, g[2], g[4], g[6]),
                *backward_halo(b.width, o.width, g[3], g[5], g[7]),
            )
        if o.pitch:  # vectors reach into the padding
            self.clean_halo(True, dy)
        read = self.split(True, node, xb) if in_phases else xb
        self.emit(True, CONV_WEIGHT, [w, read, dy], [read, dy])
        if node.attributes.get("bias"):
            self.emit(True, BIAS, [self.trained.index(f"{node.name}.bias"), dy], [dy])
        if not upstream[x]:
            return
        self.clean_halo(True, dy)
        self.planes[node.name] = (read, dy)
        last = remaining[x] == 1
        dx, accumulate = contribute(x)
        if in_phases:
            self.phased_input(w, g, b, dy, dx, accumulate)
            return
        epilogue = [0, 0, -1, -1, -1]
        target = self.affine.get(x)
        if last and target is not None:
            term = target.terms[0]
            kept = xb if target.activation else -1
            y, norm = -1, -1
            if term.norm is not None:
                y, norm = self.tensors[term.tensor], self.norm_index[term.norm.name]
            if kept >= 0 or norm >= 0:
                epilogue = [1, target.activation, kept, y, norm]
                masked.add(x)
        self.emit(True, CONV_INPUT, [w, dy, dx, accumulate, *epilogue], [dy, dx, epilogue[2], epilogue[3]])

    def phased_input(self, w: int, g: list[int], x: Buffer, dy: int, dx: int, accumulate: int) -> None:
        rows, columns = -(-x.height // g[4]), -(-x.width // g[5])
        parts = self.add(Buffer(g[1], g[4] * g[5] * rows, columns), self.buffers[dy].pitch)
        self.emit(True, CONV_INPUT, [w, dy, parts, 0, 0, 0, -1, -1, -1], [dy, parts])
        self.emit(True, MERGE, [w, parts, dx, rows, accumulate], [parts, dx])

    def conv_backward_fused(self, unit: Unit, g: int, upstream, masked, remaining, contribute) -> None:
        node, x = unit.node, unit.inputs[0]
        norm_g, y_g = self.deferred.get(unit.output, (-1, -1))
        source = self.affine.get(x)
        term = source.terms[0] if source is not None else None
        norm, y = -1, -1  # what x, or the activation it is, comes from
        if term is not None and term.norm is not None:
            norm, y = self.norm_index[term.norm.name], self.tensors[term.tensor]
        if source is not None and norm >= 0 and len(source.terms) == 1:
            xb, n, activation = y, norm, source.activation
        else:
            xb, n, activation = self.kept(x), -1, 0
        if node.attributes.get("bias"):
            self.emit(True, BIAS, [self.trained.index(f"{node.name}.bias"), g], [g])
        dx, accumulate = -1, 0
        epilogue = [0, 0, -1, -1]
        if upstream[x]:
            last = remaining[x] == 1
            dx, accumulate = contribute(x)
            if last and source is not None and (source.activation or norm >= 0):
                epilogue = [1, source.activation, y, norm]
                masked.add(x)
            if self.fused[unit.output] == POINT:
                self.own_planes[node.name][1] = self.own_planes[node.name][0]
        args = [self.weight_index[node.name], xb, n, activation, g, norm_g, y_g, dx, accumulate, *epilogue]
        self.emit(True, BACKWARD[self.fused[unit.output]], args, [xb, g, y_g, dx, epilogue[2]])

    def affine_backward(self, unit: Unit, g: int, upstream, masked, contribute, take_over) -> None:
        first = unit.terms[0]

        def sums(term) -> tuple[int, int]:
            return (-1, -1) if term.norm is None else (self.tensors[term.tensor], self.norm_index[term.norm.name])

        if unit.output not in masked and (unit.activation or first.norm is not None):
            z = self.kept(unit.output) if unit.activation else -1
            y, n = sums(first)
            self.emit(True, MASK, [g, unit.activation, z, y, n], [g, z, y])
        for i, term in enumerate(unit.terms):
            last_use = i == len(unit.terms) - 1
            if term.norm is not None:
                y, n = sums(term)
                if i > 0:
                    self.emit(True, MASK, [g, 0, -1, y, n], [g, y])
                if self.defers(unit) and upstream[term.tensor] and take_over(term.tensor, g):
                    self.emit(True, NORM_GRADIENT, [n, y], [y])
                    self.deferred[term.tensor] = (n, y)
                    continue
                if not upstream[term.tensor]:
                    out, accumulate = self.new(term.tensor), 0
                elif last_use and take_over(term.tensor, g):
                    out, accumulate = g, 0
                else:
                    out, accumulate = contribute(term.tensor)
                self.emit(True, NORM_INPUT, [n, out, g, y, accumulate], [out, g, y])
                if not accumulate:
                    self.buffers[out].clean = True
            elif upstream[term.tensor] and not (last_use and take_over(term.tensor, g)):
                out, accumulate = contribute(term.tensor)
                self.emit(True, COPY, [out, g, -1, accumulate], [out, g])
                if not accumulate:
                    self.buffers[out].clean = True

    def defers(self, unit: Unit) -> bool:
        """May the gradient behind this normalisation be made by whoever reads it?"""
        tensor = unit.terms[0].tensor
        if len(unit.terms) > 1 or tensor not in self.fused or tensor in self.fetch:
            return False
        conv = next(n for n in self.weights if n.output == tensor)
        users = sum(tensor in u.inputs for u in self.units)
        return users == 1 and not conv.attributes.get("bias")

    def plane(self, name: str, x: int) -> list[int]:
        """The plane of a convolution's input as the kernels take it; in phases, with the rows of one."""
        node = next(n for n in self.weights if n.name == name)
        plane, g = self.buffers[x].plane(), geometry(self.graph, node)
        if not (self.pitches.of(node.output) and strided(g)):
            return plane
        return [*plane, phases(g, *as_map(self.graph.shapes[node.output])[1:])[1]]

    # ---- the whole -------------------------------------------------------------------------------------------
    def program(self) -> dict[str, Any]:
        self.lower_forward()
        if self.training:
            self.lower_backward()
        if self.training and self.half:
            whole = {*self.factors.values(), *(self.tensors[n] for n in self.fetch)}
            self.forward, self.backward = save_in_16_bits(
                self.buffers, self.forward, self.backward, whole, self.blocks, self.lanes
            )
        for b in self.buffers:  # never touched: keep the table whole at no cost
            b.touch(max(b.first, 0))
        arena = place(self.buffers, self.blocks, self.lanes)
        planes = {
            name: [self.plane(name, x), self.buffers[dy].plane() if dy >= 0 else None]
            for name, (x, dy) in self.planes.items()
        } | self.own_planes
        return {
            "blocks": self.blocks,
            "arena_bytes": arena,
            "maps": [b.row() for b in self.buffers],
            "forward": self.forward,
            "backward": self.backward,
            "feed": self.feed,
            "fetch": {n: self.tensors[n] for n in self.fetch},
            "seeds": self.seeds,
            "factors": self.factors,
            "planes": planes,
        }
