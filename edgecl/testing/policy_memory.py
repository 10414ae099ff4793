"""What a policy's moves add to the resident set, measured in a child process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..budget.meters import peak_resident
from ..graph import Graph
from ..graph.builders import build
from ..sparsity import SparsityPolicy
from .forked import measured, new_peak
from .policy_run import BATCH, REPLAY, PolicyRun, Setting

WIDTH = 2000
DENSITY = 0.05


@dataclass(frozen=True)
class Growth:
    """Bytes. planned, measured : beside weights, optimizer state, gradients and arenas;  dense : of the largest tensor
    in float32
    """

    planned: int
    measured: int
    dense: int


@dataclass(frozen=True)
class Large(Setting):
    """A linear layer of 4 million weights."""

    tasks: int = 2
    density: float = DENSITY

    def graph(self) -> Graph:
        return build("mlp", (12,), 2 * self.tasks, input_dtype="float32", hidden=(WIDTH, WIDTH))


def growth_of_moves(make_policy: Callable[[], SparsityPolicy], epochs: int) -> Growth:
    """Train 2 tasks with the native engine in a forked child, and read its peak from /proc (Linux)."""
    return Growth(**measured(lambda: _measure(make_policy, epochs)))


def _measure(make_policy: Callable[[], SparsityPolicy], epochs: int) -> dict[str, Any]:
    run = PolicyRun(make_policy(), "native", Large(epochs=epochs))
    x, _ = run.setting.samples(0, 0, BATCH + REPLAY)
    logits = run.engine.forward({run.graph.input: x}, training=True)["logits"]
    run.engine.backward({"logits": np.zeros_like(logits)})
    run.engine.step(0.0)  # arenas and optimizer state are touched
    before = new_peak()
    while run.advance():
        pass
    trained = {n: p.size for n, p in run.graph.parameters.items() if p.trained}
    return {
        "planned": run.sparse.extra_bytes() + run.sparse.passing_bytes(trained),
        "measured": peak_resident() - before,
        "dense": 4 * WIDTH * WIDTH,
    }
