"""warm: the code of a training step in memory, before a baseline is taken."""

from __future__ import annotations

from functools import cache

import numpy as np

from ..compiler import Optimizer, compile_plan
from ..graph.builders import build
from .model import Model
from .native import NativeEngine

BATCH = 8


@cache
def warm() -> None:
    """Train and predict once with a tiny sparse network, so that the kernels' and numpy's code is resident.

    The pages of a library come in as they are first touched, on some systems (Linux 6.18 with large folios) megabytes
    at a time. Resident before the baseline, they are counted once and need not be foreseen.
    """
    graph, rng = build("cnn", (1, 8, 8), 2, input_dtype="float32"), np.random.default_rng(0)
    model = Model(graph, rng)
    for name in graph.prunable():
        size = model[name].spec.size
        model[name].set_pattern(np.sort(rng.choice(size, size // 2, replace=False)))
    densities = dict.fromkeys(graph.prunable(), 0.5)
    plan = compile_plan(
        graph, batch=BATCH, predict_batch=BATCH, densities=densities, optimizer=Optimizer(), threads=1
    )
    engine = NativeEngine(model, plan, rng)
    x = rng.normal(size=(BATCH, *graph.input_shape)).astype(np.float32)
    logits = engine.forward({graph.input: x})["logits"]
    engine.backward({"logits": logits})
    engine.step(0.01)
    engine.predictor(BATCH)(x)
