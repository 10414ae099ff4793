"""FlopCounter: what convolutions and linear layers execute, from the living weights of the moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..compiler import WeightCost, weight_costs
from ..compiler.operations import as_map, dilation, geometry
from ..graph import Graph
from .base import Meters
from .model import Model
from .sides import Side

Array = np.ndarray
PIECE = 16384  # positions counted at a time


class FlopCounter:
    """Adds a pass over ``samples`` to meters. The share of padding zeros depends on where the living weights sit in
    the kernel, so it is counted per tap and kept until `forget`.
    """

    def __init__(self, model: Model | Side, graph: Graph, lanes: int, trained: Collection[str]) -> None:
        self._model, self._lanes, self._trained = model, lanes, frozenset(trained)
        self._costs = weight_costs(graph, self._trained)
        nodes = {n.name: n for n in graph.nodes}
        self._missed = {}  # output positions at which each tap reads padding, int64 [kh * kw]
        for cost in self._costs:
            node = nodes[cost.node]
            x, y = as_map(graph.shapes[node.inputs[0]]), as_map(graph.shapes[node.output])
            if node.op in ("conv2d", "conv_transpose2d"):
                ends = (y, x) if node.op == "conv_transpose2d" else (x, y)
                hits = tap_hits(*ends, geometry(graph, node), dilation(node))
                self._missed[cost.node] = cost.positions - hits.ravel()
            else:
                self._missed[cost.node] = np.zeros(1, np.int64)
        self._halo: dict[str, tuple[int, int]] = {}
        self._sample: tuple[int, int, int, int] | None = None

    def forget(self, name: str) -> None:
        """The pattern, gradient subset or freezing of this weight changed."""
        for c in self._costs:
            if c.name == name:
                self._halo.pop(c.node, None)
        self._sample = None

    def forward(self, meters: Meters, samples: int) -> None:
        flops, halo, _, _ = self._per_sample()
        meters.forward_flops += flops * samples
        meters.forwards += 1
        self._overhead(meters, flops * samples, halo * samples, samples)

    def backward(self, meters: Meters, samples: int, visited: Collection[str] = ()) -> None:
        """Of ``visited`` weights the dense gradient is made, from which that of the living ones is taken."""
        _, _, flops, halo = self._per_sample()
        for c in self._costs if visited else ():
            if c.name in visited:
                size, missed = self._model[c.name].spec.size, self._missed[c.node]
                flops += 2 * (size - self._trained_count(c.name)) * c.positions
                halo += 2 * (size // missed.size * int(missed.sum()) - self._halo_products(c)[1])
        meters.backward_flops += flops * samples
        meters.backwards += 1
        self._overhead(meters, flops * samples, halo * samples, samples)

    def _per_sample(self) -> tuple[int, int, int, int]:
        """FLOPs and those of them on padding zeros, of a forward, then of a backward; kept until `forget`."""
        if self._sample is None:
            forward = backward = forward_halo = backward_halo = 0
            for c in self._costs:
                p = self._model[c.name]
                living, trained = self._halo_products(c)
                forward += c.forward(p.living, 1)
                backward += c.backward(p.living, self._trained_count(c.name), 1)
                forward_halo += 2 * living
                backward_halo += 2 * (living * c.input_gradient + trained)
            self._sample = forward, forward_halo, backward, backward_halo
        return self._sample

    def _trained_count(self, name: str) -> int:
        return self._model[name].trained_count if name in self._trained else 0

    def _overhead(self, meters: Meters, flops: int, halo: int, samples: int) -> None:
        lanes = -(-samples // self._lanes) * self._lanes
        meters.halo_flops += halo
        meters.padded_lane_flops += flops * (lanes - samples) // samples

    def _halo_products(self, cost: WeightCost) -> tuple[int, int]:
        """Multiplies with padding zeros per sample in one pass: over living weights, over trained ones."""
        found = self._halo.get(cost.node)
        if found is None:
            p, missed = self._model[cost.name], self._missed[cost.node]
            taps = missed.size

            def products(positions: Array) -> int:
                count = np.zeros(taps, np.int64)
                for i in range(0, positions.size, PIECE):  # in 64-bit integers they take three times the pattern
                    count += np.bincount(positions[i : i + PIECE] % taps, minlength=taps)
                return int(count @ missed)

            living = p.spec.size // taps * int(missed.sum()) if p.pattern is None else products(p.pattern)
            trained = living
            if p.gradient_subset is not None:
                trained = products(p.gradient_subset if p.pattern is None else p.pattern[p.gradient_subset])
            found = self._halo[cost.node] = (living, 0 if p.frozen or cost.name not in self._trained else trained)
        return found


def tap_hits(
    x: tuple[int, int, int], y: tuple[int, int, int], g: Sequence[int], dilation: Sequence[int] = (1, 1)
) -> Array:
    """int64 [kh, kw]: output positions at which each kernel tap falls inside the image."""

    def axis(size: int, out: int, kernel: int, stride: int, padding: int, apart: int) -> Array:
        at = np.arange(out)[None, :] * stride + np.arange(0, kernel, apart)[:, None] - padding
        return ((at >= 0) & (at < size)).sum(1)

    rows = axis(x[1], y[1], g[2], g[4], g[6], dilation[0])
    columns = axis(x[2], y[2], g[3], g[5], g[7], dilation[1])
    return np.outer(rows, columns).astype(np.int64)
