"""What a training step costs, operation by operation, for the device cost model."""

from __future__ import annotations

from collections.abc import Mapping

from ..devices import Operation, operations
from ..graph import Graph


def step_costs(graph: Graph, rows: int, densities: Mapping[str, float], keep: float) -> list[Operation]:
    """Forward, backward and step of ``rows`` samples at these densities and gradient keep fraction."""
    return operations(graph, rows, "train", densities, keep)
