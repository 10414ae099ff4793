"""Emitter: the operations of one entry point and the buffers they read and write, as they are laid down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..graph import Graph, Node
from ..graph.freeze import keeps_statistics
from .buffers import Buffer, forward_halo
from .fusion import Unit, fuse
from .operations import AFFINE_AGAIN, HALO, POINT, SPLIT, as_map, fused_code, geometry, weight_nodes
from .runs import Pitches, phases, strided
from .tensors import TensorEmitter

PAGE = 4096


class Emitter:
    """What forward and backward lowering share; arguments as of `Lowering`."""

    def __init__(
        self,
        graph: Graph,
        blocks: int,
        lanes: int,
        training: bool,
        fetch: Sequence[str],
        recompute: bool = False,
        half: bool = False,
        trained: Sequence[str] | None = None,
        direct: bool = False,
    ) -> None:
        self.graph, self.blocks, self.lanes, self.training = graph, blocks, lanes, training
        self.direct = direct
        self.recompute, self.half = recompute, half
        self.goes_back = training or bool(trained)
        self.again: dict[str, int] = {}
        self.seeds: dict[str, int] = {}
        self.fetch = tuple(fetch)
        self.units = fuse(graph, set(fetch), recompute or not training)
        self.affine = {u.output: u for u in self.units if u.kind == "affine"}
        self.buffers: list[Buffer] = []
        self.forward: list[list[Any]] = []
        self.backward: list[list[Any]] = []
        self.tensors: dict[str, int] = {}
        self.gradients: dict[str, int] = {}
        self.factors: dict[str, int] = {}
        self.weights = weight_nodes(graph)
        self.norms = [n for n in graph.nodes if n.op in ("batch_norm", "group_norm")]
        self.weight_index = {n.name: i for i, n in enumerate(self.weights)}
        self.norm_index = {n.name: i for i, n in enumerate(self.norms)}
        # Batch norms that take statistics of the batch in this pass.
        self.counting = {n.name for n in self.norms if training and not keeps_statistics(graph, n)}
        # Parameters in graph order, trained ones only: the optimizer's and the flat gradient's order.
        everything = [p.name for p in graph.parameters.values() if p.trained]
        self.trained = everything if trained is None else [n for n in everything if n in trained]
        self.tensor_index = {name: i for i, name in enumerate(graph.parameters)}  # as tensor operations number them
        self.planes: dict[str, tuple[int, int]] = {}
        self.own_planes: dict[str, list[list[int] | None]] = {}  # of the convolutions with scratch of their own
        fused = {n.output: c for n in self.weights if (c := fused_code(graph, n)) is not None}
        self.fused = {} if direct else fused
        # Whatever this entry point fetches or makes again, its planes are those of the others: they share the lists.
        shared = (fuse(graph, {graph.logits}), self.units)
        self.gathered = self.pointwise_tensors(shared)
        self.emitting = TensorEmitter(self)  # type: ignore[arg-type]  # Backward adds the rest
        self.pitches = Pitches(graph, [] if direct else [*shared[0], *shared[1]], self.fused, lanes)
        self.through: dict[str, tuple[int, int, int]] = {}  # tensors read through a norm: buffer, norm, activation
        self.deferred: dict[str, tuple[int, int]] = {}  # gradients read through a norm: norm, its input's buffer

    def pointwise_tensors(self, fusions: Iterable[list[Unit]]) -> set[str]:
        """Tensors that pointwise convolutions read or write, themselves or through a normalisation."""
        names = set()
        for units in fusions:
            affine = {u.output: u for u in units if u.kind == "affine"}
            for unit in units:
                if self.fused.get(unit.output) == POINT:
                    names |= {unit.output, *unit.inputs}
                    source = affine.get(unit.inputs[0])
                    names |= {t.tensor for t in source.terms} if source is not None else set()
        return names

    def map_shape(self, tensor: str) -> tuple[int, int, int]:
        return as_map(self.graph.shapes[tensor])

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
        return [*a["kernel"], *a["stride"], *a["padding"][:2], int(node.op == "max_pool")]

    def kept(self, tensor: str) -> int:
        """The buffer that holds a tensor's value in the backward pass."""
        unit = self.affine.get(tensor)
        if not self.recompute or unit is None or any(t.norm is None for t in unit.terms):
            return self.tensors[tensor]
        if tensor not in self.again:
            self.again[tensor] = self.made_again(unit)
            if unit.function is not None:
                self.emitting.in_place(True, unit, self.again[tensor])
        return self.again[tensor]

    def made_again(self, unit: Unit) -> int:
        """A buffer with a pass over normalisations once more, before its function if it has one."""
        out = self.new(unit.output)
        old, new = self.buffers[self.tensors[unit.output]], self.buffers[out]
        new.need_halo(old.top, old.bottom, old.left, old.right)  # the lists' offsets hold for this geometry
        args = [out, unit.activation]
        for t in unit.terms:
            assert t.norm is not None
            args += [self.tensors[t.tensor], self.norm_index[t.norm.name]]
        args += [-1, -1] * (2 - len(unit.terms))
        self.emit(True, AFFINE_AGAIN, args, [out, args[2], args[4]])
        return out

    def produced_by_conv(self, tensor: str) -> bool:
        return any(u.output == tensor and u.kind in ("conv2d", "linear") for u in self.units)

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

    def plane(self, name: str, x: int) -> list[int]:
        """The plane of a convolution's input as the kernels take it; in phases, with the rows of one."""
        node = next(n for n in self.weights if n.name == name)
        plane, g = self.buffers[x].plane(), geometry(self.graph, node)
        if not (self.pitches.of(node.output) and strided(g)):
            return plane
        return [*plane, phases(g, *as_map(self.graph.shapes[node.output])[1:])[1]]
