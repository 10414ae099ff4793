"""How much of its speed a machine keeps when all cores have been busy for long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...graph import Graph
from ..calibrate import figure
from .steps import make_step

NETWORK, ROWS, DENSITY = "residual 24", 8, 0.1
WINDOW = 5.0  # seconds that a rate is the mean of
Rates = list[tuple[float, float]]  # seconds since the beginning, steps a second


def busy_step(graphs: Mapping[str, Graph], cores: int) -> Callable[[], None]:
    """A training step that keeps all cores busy."""
    return make_step(graphs[NETWORK], ROWS, DENSITY, cores)[1]


def heated(step: Callable[[], None], seconds: float, clock: Callable[[], float] = time.monotonic) -> Rates:
    """Steps a second over windows of `WINDOW` seconds (a tenth of a short run), while ``step`` repeats."""
    step()
    began = at = clock()
    found, count, window = Rates(), 0, min(WINDOW, seconds / 10)
    while (now := clock()) - began < seconds:
        if now - at >= window:
            found.append((now - began, count / (now - at)))
            at, count = now, 0
        step()
        count += 1
    return found


def add_heat(data: dict[str, Any], rates: Rates) -> None:
    """The share of the first rates that the last ones keep, and the time constant of the way there."""
    if len(rates) < 6:
        return
    part = max(2, len(rates) // 10)
    cool = max(rate for _, rate in rates[:part])
    sustained = min(1.0, sum(rate for _, rate in rates[-part:]) / part / cool)
    source = f"edgecl devices calibrate --hot: {rates[-1][0]:.0f} s of training with all cores"
    thermal = dict(data.get("thermal", {}))
    thermal["sustained"] = figure(sustained, "measured", source)
    if sustained < 0.97:
        near = sustained + (1 - sustained) / math.e
        reached = next((at for at, rate in rates if rate / cool <= near), rates[-1][0])
        thermal["time_constant_s"] = figure(reached, "measured", source, "s")
    else:
        thermal.pop("time_constant_s", None)
    data["thermal"] = thermal
