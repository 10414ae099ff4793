"""EngineState: gradients, arrays per weight and sides of a model, as the plan lays them out; saved with the model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..compiler import Plan
from ..compiler.extras import trained_parameters
from ..errors import BadInput, unknown_name
from .gradients import Flat, FlatGradients, PerWeight
from .model import Model, Parameter
from .sides import Sides

Array = np.ndarray


class EngineState:
    """What both engines hold beside a model's weights.

    gradients : accumulated by backward passes;  sides : by name
    trained : names of the parameters the plan trains, in graph order: the order of every flat array
    """

    def __init__(self, model: Model, changing: AbstractContextManager[Any], dtype: type = np.float32) -> None:
        self._model = model
        self.gradients = FlatGradients(model, dtype, ())
        self.sides = Sides(model, self.gradients, changing)
        self.trained: tuple[str, ...] = ()
        self._arrays: dict[str, PerWeight] = {}

    def replan(self, plan: Plan) -> None:
        """Hold what the plan trains and declares; gradients, optimizer state and arrays of the rest are released."""
        self.trained = trained_parameters(plan.graph, plan.extras.trains)
        self._plan = plan
        self._prepare()
        self.sides.declare(plan.extras.sides, plan.graph)

    def _prepare(self) -> None:
        """Optimizer state and flat arrays as the plan has them; all gradients become zero."""
        extras, moments = self._plan.extras, self._plan.optimizer.moments()
        trained = set(self.trained)
        for name, p in self._model.parameters.items():
            if name in trained:
                p.prepare_moments(moments)
            elif p.spec.trained:
                p.drop_moments()
            p.per_weight = {k: a for k, a in p.per_weight.items() if name in trained and k in extras.per_weight}
        self.gradients.relayout(self.trained)
        arrays, self._arrays = self._arrays, {}
        for kind in extras.per_weight:
            self._arrays[kind] = arrays.get(kind) or PerWeight(self._model, (), kind)
            self._arrays[kind].relayout(self.trained)

    def set_pattern(self, name: str, pattern: Array | None) -> None:
        """Gradients accumulated for other tensors stay; this one's become zero. Arrays per weight follow."""
        self._model[name].set_pattern(pattern)
        self.gradients.keep(self.trained, name)
        for array in self._arrays.values():
            array.relayout(self.trained)

    def per_weight(self, name: str) -> Flat:
        if name not in self._arrays:
            if not self._arrays:
                raise BadInput(f"The plan has no array '{name}' per weight.", f"Plan with per_weight=('{name}',).")
            raise unknown_name("array per weight", name, self._arrays)
        return self._arrays[name]

    def check_snapshot(self, params: Mapping[str, Array]) -> None:
        """Refuse a snapshot that does not fit the present patterns."""
        for name, values in params.items():
            if name not in self._model.parameters:
                raise unknown_name("parameter", name, self._model.parameters)
            p = self._model[name]
            if np.shape(values) != p.values.shape:
                raise BadInput(
                    f"The snapshot's '{name}' has {np.size(values)} living weights, the model {p.living}.",
                    "Take a new snapshot after a change of pattern, or keep a side.",
                )

    # ---- saved state

    def state(self) -> dict[str, Array]:
        return {**self._model.state(), **self.sides.state()}

    def load(self, state: Mapping[str, Array]) -> None:
        """What `state` returned, of this version or an earlier one: a side it lacks holds nothing, an array per
        weight is zero. Raises `BadInput`, changing nothing, on a misfit.
        """
        own = {k: v for k, v in state.items() if not k.startswith("side/")}
        for key in own:
            kind = key.partition("/per_weight/")[2]
            if kind and kind not in self._arrays:
                raise BadInput(
                    f"The saved state holds an array '{kind}' per weight, which this plan does not.",
                    "Load it with the method that it was saved with.",
                )
        found = self.sides.read({k: v for k, v in state.items() if k.startswith("side/")})
        self._model.load_state(own)
        self.sides.replace(found)
        self._prepare()


def check_parameter(model: Model, name: str) -> Parameter:
    if name not in model.parameters:
        raise unknown_name("parameter", name, model.parameters)
    return model[name]
