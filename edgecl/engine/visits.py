"""Visits of dense gradients: of weights that live and of those that do not, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from ..errors import BadInput, unknown_name
from ..graph import Graph
from .model import Parameter

Array = np.ndarray
Visitor = Callable[[str, range, Array], None]

VISIT_WEIGHTS = 65536  # largest block handed to a visitor, in weights


def check_visited(graph: Graph, trained: Collection[str], names: Sequence[str]) -> frozenset[str]:
    """``names`` as a set: weights of convolutions and linear layers that the plan trains; raises `BadInput`."""
    weights = {n.parameters[0] for n in graph.nodes if n.op in ("conv2d", "linear")}
    for name in names:
        if name not in weights:
            raise unknown_name("weight to visit", name, weights)
        if name not in trained:
            raise BadInput(f"'{name}' gets no gradient by this plan.", "Plan with trains='all'.")
    return frozenset(names)


def row_blocks(shape: Sequence[int], most: int) -> Iterator[range]:
    """The rows of a tensor in blocks of at most ``most`` weights, at least a row each."""
    rows = max(1, most // max(1, int(np.prod(shape[1:]))))
    for first in range(0, shape[0], rows):
        yield range(first, min(first + rows, shape[0]))


def add_living(p: Parameter, gradient: Array, rows: range, block: Array) -> None:
    """gradient [living] += ``block``, dense gradients of these rows, where weights live and are trained."""
    if not p.trained_count:
        return
    flat, per_row = block.reshape(-1), block[0].size
    start, stop = rows.start * per_row, rows.stop * per_row
    first, last = (start, stop) if p.pattern is None else np.searchsorted(p.pattern, [start, stop])
    if p.gradient_subset is None:
        gradient[first:last] += flat if p.pattern is None else flat[p.pattern[first:last] - start]
        return
    chosen = p.gradient_subset[slice(*np.searchsorted(p.gradient_subset, [first, last]))]
    gradient[chosen] += flat[(chosen if p.pattern is None else p.pattern[chosen]) - start]
