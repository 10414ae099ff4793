"""Sides: named parameter sets beside the model. A teacher, an average of the weights, a step not taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..errors import BadInput, unknown_name
from ..graph import Graph
from .gradients import Flat
from .model import Model, Parameter, read_parameter

Array = np.ndarray
PIECE = 65536  # values blended at a time: no array of a tensor's size beside the two


class Side:
    """Values and patterns of all parameters, batch-norm statistics among them; no gradients, no optimizer state.

    parameters : by name, each with values and pattern of its own;  classes : head units it knows, 0 while it holds
    nothing. Where the model's head is wider, the rows it lacks are zero and the engine gives their logits as -inf.

    Patterns are the side's own until `copy_from`, `blend` or `virtual` take the model's.
    """

    def __init__(self, name: str, model: Model, gradients: Flat, changing: AbstractContextManager[Any]) -> None:
        self.name = name
        self.parameters: dict[str, Parameter] = {}
        self.classes = 0
        self.moved: set[str] = set()  # parameters with other arrays than when an engine last looked
        self.written = False  # values changed in place since then
        self._model, self._gradients, self._changing = model, gradients, changing

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    @property
    def empty(self) -> bool:
        return not self.parameters

    def copy_from(self, source: Model | Side) -> None:
        """Become the model (or another side): values, patterns, statistics."""
        if isinstance(source, Side) and source.empty:
            raise _nothing_in(source)
        with self._changing:
            for name, p in source.parameters.items():
                own = self._fitting(name, p)
                own.values[:] = p.values
            self.classes = source.classes if isinstance(source, Side) else source.graph.classes
            self.written = True

    def blend(self, a: float) -> None:
        """th_bar <- a th_bar + (1 - a) th, statistics alike.

        First the present pattern of the model is taken: survivors keep their value, newcomers start at 0. A side
        that holds nothing becomes the model.
        """
        if not 0 <= a <= 1:
            raise BadInput(f"A share of {a} cannot be blended.", "Use a number from 0 to 1.")
        if self.empty:
            self.copy_from(self._model)
            return
        with self._changing:
            keep, take = np.float32(a), np.float32(1 - a)
            for name, p in self._model.parameters.items():
                own = self.parameters[name]
                if not same_pattern(own, p):
                    own.set_pattern(p.pattern)
                    self.moved.add(name)
                for i in range(0, own.values.size, PIECE):
                    mine = own.values[i : i + PIECE]
                    mine *= keep
                    mine += take * p.values[i : i + PIECE]
            self.classes = self._model.graph.classes
            self.written = True

    def virtual(self, lr: float) -> None:
        """th - lr g, of the gradients accumulated so far; the model stays as it is.

        What a plain SGD step would move: no weight outside the gradient subset, none that is frozen. Statistics are
        the model's.
        """
        self.copy_from(self._model)
        with self._changing:
            for name, p in self._model.parameters.items():
                if name in self._gradients and p.trained_count:
                    mine, gradient, subset = self.parameters[name].values, self._gradients[name], p.gradient_subset
                    for i in range(0, p.trained_count, PIECE):  # never a copy of a whole tensor
                        at = slice(i, i + PIECE) if subset is None else subset[i : i + PIECE]
                        mine[at] -= np.float32(lr) * gradient[at].astype(np.float32, copy=False)

    def _fitting(self, name: str, p: Parameter) -> Parameter:
        """The own parameter with the pattern of ``p``; its arrays stay where they fit."""
        own = self.parameters.get(name)
        if own is None or own.values.size != p.values.size:
            own = self.parameters[name] = Parameter(p.spec, np.empty_like(p.values), p.pattern)
            self.moved.add(name)
        elif not same_pattern(own, p):
            own.pattern = p.pattern
            self.moved.add(name)
        own.spec = p.spec
        return own

    def fit(self, graph: Graph) -> None:
        """Go on with ``graph``, whose head has more or fewer rows: rows that were not there are zero."""
        for name, p in self.parameters.items():
            spec = graph.parameters[name]
            if spec.shape == p.spec.shape:
                continue
            if p.pattern is None:
                values = np.zeros(spec.size, np.float32)
                kept = min(spec.size, p.values.size)
                values[:kept] = p.values[:kept]
                self.parameters[name] = Parameter(spec, values)
            else:
                kept = int(np.searchsorted(p.pattern, spec.size))
                self.parameters[name] = Parameter(spec, p.values[:kept].copy(), p.pattern[:kept].copy())
            self.moved.add(name)
        self.classes = min(self.classes, graph.classes)

    def blank(self, logits: Array) -> Array:
        """``logits`` [B, C] with the units the side does not know at -inf, in place."""
        logits[:, self.classes :] = -np.inf
        return logits

    def state(self) -> dict[str, Array]:
        """Copies by key: side/NAME/PARAMETER/values, /pattern where sparse; side/NAME/classes int64 [1]."""
        found = {} if self.empty else {f"side/{self.name}/classes": np.array([self.classes], np.int64)}
        for name, p in self.parameters.items():
            found[f"side/{self.name}/{name}/values"] = p.values.copy()
            if p.pattern is not None:
                found[f"side/{self.name}/{name}/pattern"] = p.pattern.copy()
        return found


def same_pattern(a: Parameter, b: Parameter) -> bool:
    if a.pattern is None or b.pattern is None:
        return a.pattern is b.pattern
    return a.pattern is b.pattern or np.array_equal(a.pattern, b.pattern)


def _nothing_in(side: Side) -> BadInput:
    return BadInput(f"The side '{side.name}' holds nothing yet.", "Call its copy_from(engine.model) first.")


class Sides:
    """The sides that a plan declares, by name."""

    def __init__(self, model: Model, gradients: Flat, changing: AbstractContextManager[Any]) -> None:
        self._made_of = (model, gradients, changing)
        self._model = model
        self._sides: dict[str, Side] = {}

    def declare(self, names: Sequence[str], graph: Graph) -> None:
        """Exactly these from now on, fitted to ``graph``; those that were there keep what they hold."""
        self._sides = {n: self._sides.get(n) or Side(n, *self._made_of) for n in names}
        for side in self._sides.values():
            side.fit(graph)

    def __getitem__(self, name: str) -> Side:
        if name not in self._sides:
            if not self._sides:
                raise BadInput(f"The plan has no side '{name}'.", f"Plan with sides=('{name}',).")
            raise unknown_name("side", name, self._sides)
        return self._sides[name]

    def predicting(self, name: str) -> Side | None:
        """What a predictor of this side uses: None, the model, while it holds nothing."""
        return None if self[name].empty else self[name]

    def filled(self, side: Side) -> Side:
        """``side``, one of these that holds values; raises `BadInput` otherwise."""
        if self._sides.get(side.name) is not side:
            raise BadInput(f"The side '{side.name}' is not one of this engine's plan.", "Ask engine.side(name) for it.")
        if side.empty:
            raise _nothing_in(side)
        return side

    def state(self) -> dict[str, Array]:
        return {k: v for side in self._sides.values() for k, v in side.state().items()}

    def read(self, state: Mapping[str, Array]) -> dict[str, tuple[int, dict[str, Parameter]]]:
        """What a state holds of each side, checked: head units known, parameters. Raises `BadInput`; changes nothing.

        A side that the state does not mention is left out; one that was not declared is refused.
        """
        held: dict[str, dict[str, Array]] = {}
        for key, array in state.items():
            name, _, rest = key.removeprefix("side/").partition("/")
            if name not in self._sides:
                raise BadInput(
                    f"The saved state holds a side '{name}', which this plan does not.",
                    "Load it with the method that it was saved with.",
                )
            held.setdefault(name, {})[rest] = array
        graph = self._model.graph
        found = {}
        for name, arrays in held.items():
            classes = np.asarray(arrays.pop("classes", np.array([graph.classes])))
            if classes.shape != (1,) or classes.dtype.kind != "i" or not 0 < classes[0] <= graph.classes:
                raise BadInput(f"The side '{name}' of the saved state knows no number of classes.", "It is damaged.")
            left = set(arrays)
            read = {n: read_parameter(spec, arrays, left) for n, spec in graph.parameters.items()}
            if left:
                raise BadInput(f"The saved state's side '{name}' holds '{min(left)}'.", "It is of another network.")
            found[name] = int(classes[0]), read
        return found

    def replace(self, found: Mapping[str, tuple[int, dict[str, Parameter]]]) -> None:
        """What `read` returned; the others hold nothing any more."""
        for name, side in self._sides.items():
            side.classes, side.parameters = found.get(name, (0, {}))
            side.moved |= set(side.parameters)
