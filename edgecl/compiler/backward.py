"""Backward: the operations of a backward pass, behind those of the forward pass."""

from __future__ import annotations

from .buffers import Buffer, backward_halo, forward_halo
from .forward import Forward
from .fusion import Term, Unit, from_output
from .operations import (
    BACKWARD,
    BIAS,
    CONV,
    CONV_INPUT,
    CONV_WEIGHT,
    COPY,
    GROUP_NORM_INPUT,
    MASK,
    MERGE,
    NORM_GRADIENT,
    NORM_INPUT,
    POINT,
    POOL_INPUT,
    geometry,
)
from .runs import strided
from .tensors import TENSOR_UNITS


class Backward(Forward):
    """Adds the backward pass; arguments as of `Lowering`."""

    def lower_backward(self) -> None:
        self.upstream = self.depends_on_trained()
        reached: set[str] = set(self.fetch)  # tensors that can receive a gradient
        self.remaining: dict[str, int] = {}  # contributions still to come
        for unit in reversed(self.units):
            if unit.output in reached:
                for i in unit.inputs:
                    if self.upstream[i]:
                        reached.add(i)
                        self.remaining[i] = self.remaining.get(i, 0) + 1
        self.masked: set[str] = set()  # whose gradient went through the activation already
        load = len(self.forward)  # seeds are loaded between the passes
        for name in self.fetch:
            if self.upstream[name]:
                seed = self.buffers[self.gradient(name)]
                seed.touch(load)
                seed.clean = True
        self.seeds = dict(self.gradients)
        for unit in reversed(self.units):
            if unit.output in reached and unit.output in self.gradients and unit.kind != "normalise":
                self.lower_unit_backward(unit, self.gradients[unit.output])

    def depends_on_trained(self) -> dict[str, bool]:
        """Of every tensor: does it depend on a trained parameter?"""
        upstream = {self.graph.input: False}
        for n in self.graph.nodes:
            upstream[n.output] = any(upstream[i] for i in n.inputs) or any(p in self.trained for p in n.parameters)
        return upstream

    def gradient(self, tensor: str) -> int:
        self.gradients[tensor] = self.new(tensor)
        return self.gradients[tensor]

    def contribute(self, tensor: str) -> tuple[int, int]:
        """(gradient buffer, accumulate flag) for one more contribution to a tensor."""
        self.remaining[tensor] -= 1
        if tensor in self.gradients:
            return self.gradients[tensor], 1
        return self.gradient(tensor), 0

    def take_over(self, tensor: str, g: int) -> bool:
        """Lets a tensor's gradient be buffer ``g`` from now on, when nothing was added to it yet."""
        if tensor in self.gradients:
            return False
        self.remaining[tensor] -= 1
        self.gradients[tensor] = g
        return True

    def lower_unit_backward(self, unit: Unit, g: int) -> None:
        if unit.kind in TENSOR_UNITS:
            self.emitting.backward(unit, g)
            return
        node, x = unit.node, unit.inputs[0]
        if unit.output in self.fused:
            self.conv_backward_fused(unit, g)
        elif unit.kind in ("conv2d", "linear"):
            self.conv_backward(unit, g)
        elif unit.kind == "affine":
            self.affine_backward(unit, g)
        elif unit.kind == "conv_transpose2d":
            self.transposed_backward(unit, g)
        elif self.upstream[x]:
            dx, accumulate = self.contribute(x)
            if unit.kind == "group_norm":
                kept = self.tensors[x]
                self.emit(True, GROUP_NORM_INPUT, [self.norm_index[node.name], dx, g, kept, accumulate], [dx, g, kept])
            elif unit.kind in ("flatten", "dropout"):
                factor = self.factors.get(node.name, -1)
                self.emit(True, COPY, [dx, g, factor, accumulate], [dx, g, factor])
            else:
                kept = self.kept(x) if unit.kind == "max_pool" else -1
                self.emit(True, POOL_INPUT, [dx, g, *self.pool_arguments(node), kept, accumulate], [dx, g, kept])
            if not accumulate:
                self.buffers[dx].clean = True

    # ---- convolutions ----------------------------------------------------------------------------------------
    def conv_backward(self, unit: Unit, dy: int) -> None:
        node, x = unit.node, unit.inputs[0]
        w, g, xb = self.weight_index[node.name], geometry(self.graph, node), self.kept(x)
        b, o = self.buffers[xb], self.buffers[dy]
        in_phases = o.pitch > 0 and strided(g)
        if self.upstream[x]:
            o.need_halo(
                *backward_halo(b.height, o.height, g[2], g[4], g[6]),
                *backward_halo(b.width, o.width, g[3], g[5], g[7]),
            )
        if o.pitch:  # vectors reach into the padding
            self.clean_halo(True, dy)
        read = self.split(True, node, xb) if in_phases else xb
        self.emit(True, CONV_WEIGHT, [w, read, dy], [read, dy])
        self.bias_backward(unit, dy)
        if not self.upstream[x]:
            return
        self.clean_halo(True, dy)
        self.planes[node.name] = (read, dy)
        last = self.remaining[x] == 1
        dx, accumulate = self.contribute(x)
        if in_phases:
            self.phased_input(w, g, b, dy, dx, accumulate)
            return
        epilogue = [0, 0, -1, -1, -1]
        target = self.plain_affine(x)
        if last and target is not None:
            kept = xb if target.activation else -1
            y, norm = self.normed(target.terms[0])
            if kept >= 0 or norm >= 0:
                epilogue = [1, target.activation, kept, y, norm]
                self.masked.add(x)
        self.emit(True, CONV_INPUT, [w, dy, dx, accumulate, *epilogue], [dy, dx, epilogue[2], epilogue[3]])

    def transposed_backward(self, unit: Unit, dy: int) -> None:
        """Of a transposed convolution: the convolution itself, and its weight gradient with the maps exchanged."""
        node, x = unit.node, unit.inputs[0]
        g, w, xb = geometry(self.graph, node), self.weight_index[node.name], self.kept(x)
        b, o = self.buffers[xb], self.buffers[dy]
        o.need_halo(
            *forward_halo(o.height, b.height, g[2], g[4], g[6]), *forward_halo(o.width, b.width, g[3], g[5], g[7])
        )
        self.clean_halo(True, dy)
        self.emit(True, CONV_WEIGHT, [w, dy, xb], [dy, xb])
        self.planes[node.name] = (self.tensors[x], dy)
        if not self.upstream[x]:
            return
        dx, accumulate = self.contribute(x)
        own = dx if not accumulate else self.add(Buffer(*self.map_shape(x)), 0)
        self.emit(True, CONV, [w, dy, own, -1], [dy, own])
        if accumulate:
            self.emit(True, COPY, [dx, own, -1, 1], [dx, own])

    def bias_backward(self, unit: Unit, dy: int) -> None:
        if unit.node.attributes.get("bias"):
            self.emit(True, BIAS, [self.trained.index(unit.node.parameters[1]), dy], [dy])

    def phased_input(self, w: int, g: list[int], x: Buffer, dy: int, dx: int, accumulate: int) -> None:
        rows, columns = -(-x.height // g[4]), -(-x.width // g[5])
        parts = self.add(Buffer(g[1], g[4] * g[5] * rows, columns), self.buffers[dy].pitch)
        self.emit(True, CONV_INPUT, [w, dy, parts, 0, 0, 0, -1, -1, -1], [dy, parts])
        self.emit(True, MERGE, [w, parts, dx, rows, accumulate], [parts, dx])

    def conv_backward_fused(self, unit: Unit, g: int) -> None:
        """Both gradients of a depthwise or pointwise convolution in one pass."""
        node, x = unit.node, unit.inputs[0]
        norm_g, y_g = self.deferred.get(unit.output, (-1, -1))
        source = self.plain_affine(x)
        y, norm = (-1, -1) if source is None else self.normed(source.terms[0])  # what x comes from
        if source is not None and norm >= 0 and len(source.terms) == 1:
            xb, n, activation = y, norm, source.activation
        else:
            xb, n, activation = self.kept(x), -1, 0
        self.bias_backward(unit, g)
        dx, accumulate = -1, 0
        epilogue = [0, 0, -1, -1]
        if self.upstream[x]:
            last = self.remaining[x] == 1
            dx, accumulate = self.contribute(x)
            if last and source is not None and (source.activation or norm >= 0):
                epilogue = [1, source.activation, y, norm]
                self.masked.add(x)
            if self.fused[unit.output] == POINT:
                self.own_planes[node.name][1] = self.own_planes[node.name][0]
        args = [self.weight_index[node.name], xb, n, activation, g, norm_g, y_g, dx, accumulate, *epilogue]
        self.emit(True, BACKWARD[self.fused[unit.output]], args, [xb, g, y_g, dx, epilogue[2]])

    # ---- normalisations --------------------------------------------------------------------------------------
    def normed(self, term: Term) -> tuple[int, int]:
        """(buffer, batch norm) of a summand that goes through one."""
        return (-1, -1) if term.norm is None else (self.tensors[term.tensor], self.norm_of(term))

    def plain_affine(self, tensor: str) -> Unit | None:
        """The pass that makes a tensor, where the convolutions' kernels know its activation."""
        unit = self.affine.get(tensor)
        return None if unit is None or unit.function is not None else unit

    def affine_backward(self, unit: Unit, g: int) -> None:
        first = unit.terms[0]
        if unit.function is not None:
            value = self.kept(unit.output) if from_output(unit.function.function) else self.made_again(unit)
            self.emitting.through(unit, g, value)
        if unit.output not in self.masked and (unit.activation or first.norm is not None):
            z = self.kept(unit.output) if unit.activation else -1
            y, n = self.normed(first)
            self.emit(True, MASK, [g, unit.activation, z, y, n], [g, z, y])
        for i, term in enumerate(unit.terms):
            tensor, last_use = term.tensor, i == len(unit.terms) - 1
            if term.norm is not None:
                y, n = self.normed(term)
                if i > 0:
                    self.emit(True, MASK, [g, 0, -1, y, n], [g, y])
                if self.defers(unit) and self.upstream[tensor] and self.take_over(tensor, g):
                    self.emit(True, NORM_GRADIENT, [n, y], [y])
                    self.deferred[tensor] = (n, y)
                    continue
                if not self.upstream[tensor]:
                    out, accumulate = self.new(tensor), 0
                elif last_use and self.take_over(tensor, g):
                    out, accumulate = g, 0
                else:
                    out, accumulate = self.contribute(tensor)
                self.emit(True, NORM_INPUT, [n, out, g, y, accumulate], [out, g, y])
            elif self.upstream[tensor] and not (last_use and self.take_over(tensor, g)):
                out, accumulate = self.contribute(tensor)
                self.emit(True, COPY, [out, g, -1, accumulate], [out, g])
            else:
                continue
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
