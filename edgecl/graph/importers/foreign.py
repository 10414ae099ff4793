"""Foreign tensors and what stands for those that are not made; foreign networks as ours; refusals by place.

A foreign tensor is a constant (a numpy array: weights, shapes, masks) or a `Data`: a tensor of our graph, with the
place that its batch has among the foreign axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError
from ..graph import Graph, Shape

Array = np.ndarray
LARGEST = 3.4028234663852886e38  # of float32


class Unsupported(EdgeclError):
    """A foreign node that cannot become part of a graph; collected with its place."""

    def __init__(self, why: str) -> None:
        super().__init__(why, "")


class Mixes(Unsupported):
    """The node reads or writes along the batch."""

    def __init__(self) -> None:
        super().__init__("mixes the samples of a batch")


@dataclass(frozen=True)
class Data:
    """A tensor of the graph. ``batch``: where the batch is among the foreign axes; None: nowhere (the whole foreign
    tensor is one sample). ``merged``: that foreign axis is the batch and the sample's axis of that number in one, the
    batch being the "slow" or the "fast" part; empty: the batch alone.
    """

    name: str
    shape: Shape
    batch: int | None = 0
    merged: str = ""

    @property
    def rank(self) -> int:
        return len(self.shape) + (self.batch is not None and not self.merged)

    def own(self, axis: int) -> int:
        """The sample's axis that a foreign one is."""
        if not -self.rank <= axis < self.rank:
            raise Unsupported(f"there is no axis {axis} of {self.rank}")
        axis %= self.rank
        if self.batch is None:
            return axis
        if axis == self.batch:
            raise Mixes
        return axis if self.merged else axis - (axis > self.batch)


@dataclass(frozen=True)
class Missing:
    """An output that is not made; refused only if something reads it."""

    what: str


@dataclass(frozen=True)
class Quantised(Missing):
    """``data`` in integers, as a quantised file has it between two layers; read by what makes floats of it alone."""

    data: Data


Value = Data | Array


@dataclass
class Imported:
    """A foreign network as ours: its graph, the values of its parameters, what is worth knowing about it.

    notes : ``source``, ``warnings``, ``outputs``: a list of {name (in the file), tensor (of the graph), batch (the axis
        that the file has it at)}, and of a file its ``metadata``
    constants : outputs that do not depend on the input, by their names in the file
    """

    graph: Graph
    weights: dict[str, Array]
    notes: dict[str, Any]
    constants: dict[str, Array] = field(default_factory=dict)


class Refused(BadInput):
    """Nodes that cannot become part of a network: ``lines`` has a sentence for each, by place."""

    lines: Sequence[str] = ()


def refuse_all(found: Sequence[tuple[str, str, str]], total: int, opset: str = "") -> Refused:
    """One refusal that names every node: (operator, place, why)."""
    lines = []
    for op, place, why in sorted(found, key=lambda f: (f[1], f[0])):
        lines.append(f"Operator '{op}' at '{place}'{opset} {why}.")
    shown = "\n".join(lines[:40]) + (f"\n... and {len(lines) - 40} more" if len(lines) > 40 else "")
    refused = Refused(
        f"{len(lines)} of {total} nodes cannot become part of a network that learns here:\n{shown}",
        "Replace these layers by others; docs/models.md lists what can be imported.",
    )
    refused.lines = lines
    return refused
