"""The prefix on our own kernels: always there, bounded by the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import Executor

if TYPE_CHECKING:
    from ...network import Network

Array = np.ndarray
OBJECTS = 300_000  # bytes of graph, plan and bindings as Python holds them: measured, see tests


class Native(Executor):
    """Our kernels, by a plan without a backward pass: no gradients, no lists that go back, one arena for a sample.

    A sample at a time: that takes least, and a sample's bits cannot depend on others.
    """

    name = "native"

    def open(self, prefix: Network) -> None:
        from ...compiler import Optimizer, compile_plan
        from ...engine.model import Model
        from ...engine.native import NativeEngine

        graph = prefix.graph
        plan = compile_plan(graph, batch=1, predict_batch=1, optimizer=Optimizer(), trains="none", direct=True)
        self._engine = NativeEngine(Model.standing(graph, prefix.weights), plan)
        self._predict = self._engine.predictor(1)
        self.parts = {
            "weights": plan.memory["parameters"] + plan.memory["lists"],
            "activations": plan.memory["predict_arena"] + plan.memory["scratch"],
            "objects": OBJECTS,
        }

    def __call__(self, x: Array) -> Array:
        return self._predict(x)["logits"]
