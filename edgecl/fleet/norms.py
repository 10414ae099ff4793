"""Norms: how far an update may lie from the model it starts from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .model import FleetModel, on_pattern
from .refusals import BadUpdate

KEPT, FEW, TIMES = 256, 5, 10.0


def distance(model: FleetModel, base: FleetModel) -> float:
    """Euclidean norm of what ``model`` differs by from ``base``, over its living weights; head rows that the base does
    not have count from zero.
    """
    total = 0.0
    for t in model.schema.tensors:
        values, old = model.values[t.name].astype(np.float64), base.values[t.name]
        if t.kind == "sparse":
            old = on_pattern(old, base.patterns[t.name], model.patterns[t.name])
        elif t.kind == "head":
            rows = {label: row for label, row in zip(base.labels, old.reshape(len(base.labels), t.size))}
            none = np.zeros(t.size, np.float32)
            old = np.array([rows.get(label, none) for label in model.labels]).reshape(-1)
        total += float(np.square(values - old).sum())
    return float(np.sqrt(total))


def length(model: FleetModel) -> float:
    """Euclidean norm of all values."""
    return float(np.sqrt(sum(float(np.square(v, dtype=np.float64).sum()) for v in model.values.values())))


class Norms:
    """``clip``: the largest norm; without one ten times the median of the last 256 that were taken, and while there are
    fewer than five of them, the length of the model itself.
    """

    def __init__(self, clip: float | None) -> None:
        self.clip, self._taken = clip, list[float]()

    def most(self, model: FleetModel) -> float:
        if self.clip is not None:
            return self.clip
        if len(self._taken) < FEW:
            return max(1.0, length(model))
        return max(TIMES * float(np.median(self._taken)), 1e-3)

    def check(self, norm: float, model: FleetModel) -> None:
        """Raises `BadUpdate` (norm) for one that is too large; else it counts from now on."""
        most = self.most(model)
        if not norm <= most:
            raise BadUpdate("norm", f"The update moves the model by {norm:.4g}, the most is {most:.4g}.",
                            "Train less between rounds, or raise clip.")  # fmt: skip
        self._taken = [*self._taken, norm][-KEPT:]

    def state(self) -> dict[str, Any]:
        return {"taken": list(self._taken)}

    def load(self, state: dict[str, Any]) -> None:
        self._taken = [float(v) for v in state["taken"]]
