"""Standing: answers by the weights as they are now, whatever is learned afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..compiler import Optimizer, compile_plan
from ..engine.model import Model
from ..engine.native import NativeEngine
from ..errors import BadInput
from ..intake.labels import LabelMap
from ..methods import Method
from ..methods.losses import probabilities
from .core import Core

Array = np.ndarray
BATCH = 8


def standing(core: Core, known: LabelMap) -> Callable[[Array], Array]:
    """A function from samples [n, ...] to float32 [n, k] probabilities, as `learning.answers` gives them now, for one
    thread at a time. It holds the living weights once more, and an arena for eight samples.

    Raises `BadInput` for a method that does not predict from the logits alone.
    """
    parts = core.parts
    method = parts.method
    if type(method).scores is not Method.scores or method.predict_side is not None or not known.plain:
        raise BadInput(f"'{method.name}' predicts by more than the logits.", "Use er, der++ or another such method.")
    graph, seen = parts.engine.model.graph, core.trainer.seen.copy()
    densities = parts.sparse.max_densities()
    plan = compile_plan(
        graph, batch=1, predict_batch=BATCH, densities=densities, optimizer=Optimizer(), trains="none"
    )
    state = {}
    for name, p in parts.engine.model.parameters.items():
        state[f"{name}/values"] = p.values.copy()
        if p.pattern is not None:
            state[f"{name}/pattern"] = p.pattern.copy()
    predict = NativeEngine(Model.from_state(graph, state), plan).predictor(BATCH)
    width = len(known)

    def answer(x: Array) -> Array:
        outs = predict(x)
        return probabilities(Method.scores(method, outs, seen), width)

    return answer
