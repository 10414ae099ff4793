"""Which maps are laid out for runs (kernels/runs.h): with few lanes a vector spans positions, so whole planes slide.

Input and output of a convolution then share a row pitch, whatever halo each of them needs, and so do the tensors that
its backward pass reads beside them; strided convolutions read their input cut into phases.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..graph import Graph
from .buffers import backward_halo, forward_halo
from .fusion import Unit
from .operations import as_map, geometry

RUN_LANES = 2  # maps of at most so many lanes are laid out for runs


def width(graph: Graph, tensor: str) -> int:
    return as_map(graph.shapes[tensor])[2]


class Pitches:
    """Row pitch of every tensor on a convolution in runs, from the graph alone: all entry points of a plan agree."""

    def __init__(self, graph: Graph, units: Sequence[Unit], fused: Collection[str], lanes: int) -> None:
        self._parent: dict[str, str] = {}
        self._need: dict[str, list[int]] = {}  # left halo, right halo, columns at least
        if lanes > RUN_LANES:
            return
        for unit in units:
            if unit.kind == "affine":
                for term in unit.terms:
                    self._join(unit.output, term.tensor)
        in_runs: set[str] = set()
        for unit in units:
            if unit.kind not in ("conv2d", "linear") or unit.output in fused:
                continue
            x, y = unit.inputs[0], unit.output
            _, _, _, kernel, _, stride, _, padding, _ = geometry(graph, unit.node)
            w, out = width(graph, x), width(graph, y)
            self._ask(y, *backward_halo(w, out, kernel, stride, padding), out)
            in_runs.add(y)
            if strided(geometry(graph, unit.node)):
                self._ask(y, 0, 0, max(out + (kernel - 1) // stride, -(-w // stride)))
            else:
                self._ask(x, *forward_halo(w, out, kernel, stride, padding), w)
                self._join(x, y)
        groups: dict[str, int] = {}
        for tensor, (left, right, columns) in self._need.items():
            root = self._find(tensor)
            groups[root] = max(groups.get(root, 0), left + width(graph, tensor) + right, columns)
        members = {self._find(t) for t in in_runs}
        self._pitch = {t: groups[self._find(t)] for t in self._parent if self._find(t) in members}

    def of(self, tensor: str) -> int:
        """Columns of the tensor's planes; 0 where they are not laid out for runs."""
        return self._pitch.get(tensor, 0) if self._parent else 0

    def _find(self, tensor: str) -> str:
        while self._parent.setdefault(tensor, tensor) != tensor:
            tensor = self._parent[tensor]
        return tensor

    def _join(self, a: str, b: str) -> None:
        self._parent[self._find(a)] = self._find(b)

    def _ask(self, tensor: str, *need: int) -> None:
        self._find(tensor)
        self._need[tensor] = [max(a, b) for a, b in zip(need, self._need.get(tensor, need))]


def strided(g: Sequence[int]) -> bool:
    return g[4] > 1 or g[5] > 1


def phases(g: Sequence[int], out_height: int, out_width: int) -> tuple[int, int, int]:
    """A strided convolution's input cut into phases: number of phases, rows and columns of one."""
    _, _, kh, kw, sh, sw, *_ = g
    return min(kh, sh) * min(kw, sw), out_height + (kh - 1) // sh, out_width + (kw - 1) // sw
