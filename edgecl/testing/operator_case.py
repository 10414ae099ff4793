"""OperatorCase: one application of one operator, with the arrays that a check calls it with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph.graph import ParameterSpec, Shape
from ..graph.registry import Operator

Array = np.ndarray
KINKS = (6, 1, 3, -3)  # where activations of the table have no derivative; 0 is never drawn


@dataclass
class OperatorCase:
    """Shapes and attributes that an operator is tried with.

    Derive from it and override `inputs` or `params` for an operator that does not take every value (a logarithm).

    Parameters
    ----------
    shapes : of the inputs, without batch
    attributes : beside the operator's optional ones
    batch : samples
    seed : of the values
    """

    shapes: Sequence[Shape]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 3
    seed: int = 0

    def full(self, entry: Operator) -> dict[str, Any]:
        """All attributes, the optional ones included."""
        return {**entry.optional_attributes, **self.attributes}

    def specs(self, entry: Operator) -> dict[str, ParameterSpec]:
        """The operator's parameters by local name."""
        return entry.parameters([tuple(s) for s in self.shapes], self.full(entry))

    def arrays(self, entry: Operator, dtype: Any = np.float64) -> tuple[list[Array], dict[str, Array]]:
        """(inputs [batch, *shape], parameters by local name), the same at every call."""
        rng = np.random.default_rng(self.seed)
        inputs = [x.astype(dtype) for x in self.inputs(rng)]
        params = {n: v if v.dtype == bool else v.astype(dtype) for n, v in self.params(entry, rng).items()}
        return inputs, params

    def inputs(self, rng: np.random.Generator) -> list[Array]:
        """Values in float64 from -8 to 8, no two alike, none at 0 or at `KINKS`."""
        return [spread(rng, (self.batch, *s)) for s in self.shapes]

    def params(self, entry: Operator, rng: np.random.Generator) -> dict[str, Array]:
        """Normal values in float64; a running variance is positive."""
        found = {}
        for name, spec in self.specs(entry).items():
            values = rng.normal(size=spec.shape)
            found[name] = np.abs(values) + 0.5 if name == "running_var" else values
        return found


def spread(rng: np.random.Generator, shape: Shape) -> Array:
    """Distinct multiples of a step in random order, shifted by half of it, moved away from `KINKS`."""
    n = math.prod(shape)
    values = (rng.permutation(n) - n // 2 + 0.5) * (16.0 / max(n, 16))
    for kink in KINKS:
        values = values + np.where(np.abs(values - kink) < 1e-3, 0.01, 0)
    return values.reshape(shape)
