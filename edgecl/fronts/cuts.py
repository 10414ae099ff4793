"""What a cut of a network costs at each place: bytes of a latent, FLOPs of either side, bytes to train the tail."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..compiler import Optimizer, compile_plan
from ..errors import BadInput
from ..graph import Graph
from ..graph.cut import cut_points, prefix_of, tail_of
from ..graph.importers.finish import fresh_head
from ..graph.ranges import ACTIVATIONS, bounds
from .backbone import prefix_flops
from .latents import BITS

BATCH = 8  # of the training plan that a tail's bytes are of


class CutFacts(NamedTuple):
    """One place to cut at.

    bytes : of a latent by format, those that suit it, and ``float32``
    prefix_flops, tail_flops : of a sample on its way forward;  tail_parameters : with the fresh head
    tail_training_bytes : of a plan that trains the tail in batches of `BATCH`; None where it cannot be trained
    """

    tensor: str
    shape: tuple[int, ...]
    bytes: dict[str, int]
    prefix_flops: int
    tail_flops: int
    tail_parameters: int
    tail_training_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "shape": list(self.shape)}


def natural_cuts(graph: Graph) -> tuple[str, ...]:
    """Cut points behind which no normalisation or activation stands alone: that belongs to the prefix."""
    readers: dict[str, list[str]] = {}
    for node in graph.nodes:
        for i in node.inputs:
            readers.setdefault(i, []).append(node.op)
    inner = {"batch_norm", "group_norm", *ACTIVATIONS}
    return tuple(t for t in cut_points(graph) if not set(readers.get(t, ())) <= inner or not readers.get(t))


def list_cuts(graph: Graph, classes: int) -> Iterator[CutFacts]:
    """Every natural cut of ``graph`` whose tail can end in a fresh head for ``classes``, in order."""
    for tensor in natural_cuts(graph):
        shape = graph.shapes[tensor]
        plain = (0.0,) * shape[0], (1.0,) * shape[0]
        try:
            tail, _ = fresh_head(tail_of(graph, tensor, "uint8", *plain), {}, classes)
        except BadInput:  # behind the head
            continue
        values = math.prod(shape)
        eight = "uint8" if bounds(graph, tensor)[0] >= 0 else "int8"
        sizes = {name: values * bits // 8 for name, bits in BITS.items() if bits > 8 or name == eight}
        yield CutFacts(
            tensor, shape, {**sizes, "float32": 4 * values}, prefix_flops(prefix_of(graph, tensor)),
            prefix_flops(tail), sum(p.size for p in tail.parameters.values()), _training_bytes(tail),
        )  # fmt: skip


def _training_bytes(tail: Graph) -> int | None:
    try:
        return compile_plan(tail, batch=BATCH, optimizer=Optimizer()).bytes
    except BadInput:
        return None
