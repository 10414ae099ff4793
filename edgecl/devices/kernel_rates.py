"""How fast our kernels run, by layer class, pass, density and map size.

    seconds(operation) = flops / (peak(threads) * parallel(threads) * efficiency(density, positions))
                         + traffic * bytes / bandwidth(threads, working set) + start(threads)

``efficiency`` is the share of the FMA peak, interpolated between knots (in the logarithm of density and output
positions, as reciprocals, so that times add up). ``bytes`` are the operation's maps and weights, each once. Passes over
maps alone (normalisation, activation, addition; pooling) have no FLOPs: their first term counts bytes for flops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .workload import Operation

POSITIONS = (1, 16, 64, 256, 1024)
DENSITIES = (0.05, 0.1, 0.25, 1.0)
PHASES = ("forward", "input", "weight")
# class -> density knots, position knots
KNOTS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "conv": (DENSITIES, POSITIONS),
    "pointwise": (DENSITIES, POSITIONS),
    "strided": (DENSITIES, POSITIONS),
    "signal": (DENSITIES, (16, 64, 256)),
    "linear": (DENSITIES, (1,)),
    "depthwise": ((1.0,), POSITIONS),
    "stem": ((1.0,), POSITIONS),
    "maps": ((1.0,), (1,)),
    "pool": ((1.0,), (1,)),
}
# class -> phases; forward and backward of a map pass are one class
CLASSES = tuple(
    (kind, phase) for kind in KNOTS for phase in (("all",) if kind in ("maps", "pool") else PHASES)
    if (kind, phase) != ("stem", "input")
)  # fmt: skip
STEM_CHANNELS = 4  # a first layer: lists too short to fill a block


@dataclass(frozen=True)
class Rates:
    """One class. ``efficiency`` [densities, positions]; ``start`` seconds of an operation with one and all threads."""

    efficiency: tuple[tuple[float, ...], ...]
    traffic: float
    start: tuple[float, float]
    mark: str
    source: str

    def reciprocal(self, kind: str, density: float, positions: float) -> float:
        """1 / efficiency at a density and number of output positions."""
        return float((weights_at(kind, density, positions) / np.array(self.efficiency).ravel()).sum())


def classify(operation: Operation) -> tuple[str, str]:
    """The class of a pass; ('update', 'all') for the optimizer."""
    o = operation
    if o.kind == "optimizer":
        return "update", "all"
    if o.kind in ("pool", "feed"):
        return o.kind, "all"
    if o.kind not in ("conv", "pointwise", "depthwise", "linear", "attention"):
        return "maps", "all"
    if o.kind == "conv" and not o.flat and o.reduction <= STEM_CHANNELS * o.area and o.phase != "input":
        return "stem", o.phase
    if o.kind == "conv" and o.flat:
        return "signal", o.phase
    if o.kind in ("conv", "pointwise") and o.stride > 1:
        return "strided", o.phase
    return "linear" if o.kind == "attention" else o.kind, o.phase


def weights_at(kind: str, density: float, positions: float) -> np.ndarray:
    """Interpolation weights of the class's knots [densities * positions], summing to 1."""
    densities, places = KNOTS[kind]
    return np.outer(_hat(density, densities), _hat(positions, places)).ravel()


def _hat(at: float, knots: Sequence[float]) -> np.ndarray:
    """Weights of two neighbouring knots, linear in the logarithm, constant outside."""
    found = np.zeros(len(knots))
    if len(knots) == 1:
        found[0] = 1
        return found
    place = np.interp(np.log(at), np.log(knots), np.arange(len(knots)))
    low = min(int(place), len(knots) - 2)
    found[low + 1] = place - low
    found[low] = 1 - found[low + 1]
    return found


def neighbours(kind: str) -> list[tuple[int, int]]:
    """Pairs of adjacent knots of a class, for smoothing."""
    rows, columns = (len(k) for k in KNOTS[kind])
    across = [(r * columns + c, r * columns + c + 1) for r in range(rows) for c in range(columns - 1)]
    down = [(r * columns + c, (r + 1) * columns + c) for r in range(rows - 1) for c in range(columns)]
    return across + down
