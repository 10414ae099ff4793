"""Visits of dense gradients: of weights that live and of those that do not, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput, unknown_name
from ..graph import Graph
from .model import Parameter

if TYPE_CHECKING:
    from .base import Engine

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


class DenseGradients:
    """Dense gradients of a whole step, which may go back several times: the sum over its backward passes.

    sums : float32 by name, of the tensor's shape; valid after the step's last backward, until `begin`

    >>> dense = DenseGradients(engine, names)
    >>> dense.begin()  # before the step's first forward; ends with engine.step or engine.discard
    """

    def __init__(self, engine: Engine, names: Sequence[str]) -> None:
        self._engine = engine
        self.sums = {n: np.zeros(engine.model[n].spec.shape, np.float32) for n in names}

    @staticmethod
    def bytes(graph: Graph, names: Sequence[str]) -> int:
        """What the sums take, for plans."""
        return 4 * sum(graph.parameters[n].size for n in names)

    def begin(self) -> None:
        for array in self.sums.values():
            array[...] = 0
        self._engine.visit_dense_gradients(tuple(self.sums), self._add)

    def _add(self, name: str, rows: range, block: Array) -> None:
        self.sums[name][rows.start : rows.stop] += block
