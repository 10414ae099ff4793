"""Differences between two models in few bits, with what was rounded off kept for the next time (error feedback)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import BadInput
from .model import Array, FleetModel, on_pattern

FORMATS = ("f32", "f16", "int8")  # f32: the values themselves; else what they differ by from the base
LARGEST_F16 = 65504.0


class Wire(NamedTuple):
    """What travels of one tensor: float16 [n], or int8 [n] with the float32 ``scale`` that one step of it is worth."""

    steps: Array
    scale: np.float32 | None = None

    def differences(self) -> Array:
        """float64 [n]."""
        found = self.steps.astype(np.float64)
        return found if self.scale is None else found * np.float64(self.scale)


def quantised(differences: Array, form: str) -> Wire:
    """float64 [n] in ``f16`` or ``int8``, rounded to the nearest step. Raises `BadInput` for what does not fit."""
    largest = float(np.abs(differences).max(initial=0.0))
    if not np.isfinite(largest):
        raise BadInput("The model holds NaN or infinity.", "Go back to a sound one.")
    if form == "f16":
        if largest > LARGEST_F16:
            raise BadInput(f"A weight moved by {largest:g}, float16 holds {LARGEST_F16:g}.", "Use f32.")
        return Wire(differences.astype("<f2"))
    scale = np.float32(largest / 127) if largest else np.float32(1.0)
    if not scale:  # below what float32 holds
        return Wire(np.zeros(differences.size, np.int8), np.float32(1.0))
    steps = np.clip(np.rint(differences / np.float64(scale)), -127, 127)
    return Wire(steps.astype(np.int8), scale)


class Feedback:
    """What was rounded off so far, by tensor, float32 [living] of the pattern it was on: it is added to the next
    differences, so that small ones add up instead of getting lost. A weight that dies takes its share with it.
    """

    def __init__(self) -> None:
        self.left: dict[str, Array] = {}
        self.patterns: dict[str, Array] = {}

    def take(self, model: FleetModel, base: FleetModel, form: str) -> dict[str, Wire]:
        """Of every tensor but the head, how ``model`` differs from ``base``, and what was left the last time."""
        wire = {}
        for t in model.schema.tensors:
            if t.kind == "head":
                continue
            values, old, left = model.values[t.name], base.values[t.name], self.left.get(t.name)
            if t.kind == "sparse":
                pattern = model.patterns[t.name]
                old = on_pattern(old, base.patterns[t.name], pattern)
                left = None if left is None else on_pattern(left, self.patterns[t.name], pattern)
                self.patterns[t.name] = pattern
            d = values.astype(np.float64) - old
            if left is not None:
                d += left
            wire[t.name] = quantised(d, form)
            self.left[t.name] = (d - wire[t.name].differences()).astype(np.float32)
        return wire

    def state(self) -> dict[str, dict[str, Array]]:
        return {"left": dict(self.left), "patterns": dict(self.patterns)}

    def load(self, state: dict[str, dict[str, Array]]) -> None:
        self.left, self.patterns = dict(state["left"]), dict(state["patterns"])


def applied(base: FleetModel, patterns: dict[str, Array], wire: dict[str, Wire]) -> dict[str, Array]:
    """float64 values of every tensor but the head: those of ``base`` on ``patterns``, and the differences."""
    values = {}
    for t in base.schema.tensors:
        if t.kind != "head":
            old = base.values[t.name]
            if t.kind == "sparse":
                old = on_pattern(old, base.patterns[t.name], patterns[t.name])
            values[t.name] = old.astype(np.float64) + wire[t.name].differences()
    return values
