"""One entry per operator: shape rule, parameters, FLOP rule, reference forward and backward, torch twin.

The compiler, the engines and the tests read only this. Files in `ops/` register themselves on import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError
from .graph import ParameterSpec, Shape

Array = np.ndarray


class Operator:
    """Base of registry entries. Shapes exclude the batch; arrays include it as the first axis.

    ``forward`` and ``backward`` are the plain reference in the dtype of their inputs (float64 for gradient
    checks). ``params`` maps the local parameter name (``weight``, ``bias``, ...) to its array.
    """

    name: str = ""
    optional_attributes: Mapping[str, Any] = {}
    cost_only: bool = False  # has a shape and a cost, but nothing that computes it

    def shape(self, inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> Shape:
        """Output shape. Raises `EdgeclError` when the inputs do not fit."""
        raise NotImplementedError

    def parameters(self, inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> dict[str, ParameterSpec]:
        """Specs of the parameters by local name; the builder fills in each spec's ``name``."""
        return {}

    def positions(self, output: Shape) -> int:
        """MACs per living weight and sample: output positions of a convolution, 1 for linear, else 0."""
        return 0

    def weight_positions(self, inputs: Sequence[Shape], output: Shape) -> int:
        """MACs per living weight and sample, where the input's size decides (a transposed convolution)."""
        return self.positions(output)

    def macs(self, inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> int:
        """Multiply-adds per sample that involve no weight (attention)."""
        return 0

    def forward(
        self,
        inputs: Sequence[Array],
        params: Mapping[str, Array],
        attributes: Mapping[str, Any],
        training: bool,
    ) -> tuple[Array, Any]:
        """Returns (output, context for backward). Batch norm's context holds ``mean`` and ``var``."""
        raise NotImplementedError

    def backward(
        self, grad: Array, context: Any, params: Mapping[str, Array], attributes: Mapping[str, Any]
    ) -> tuple[list[Array | None], dict[str, Array]]:
        """Returns (gradient per input, gradient per trained local parameter)."""
        raise NotImplementedError

    def torch(self, inputs: Sequence[Any], params: Mapping[str, Any], attributes: Mapping[str, Any], training: bool):
        """The same operator on torch tensors (autograd gives the backward)."""
        raise NotImplementedError


_OPERATORS: dict[str, Operator] = {}
_COST_ONLY: dict[str, Operator] = {}


def register(entry: Operator) -> Operator:
    """Add an operator to the table of all graphs. Raises `BadInput` where another class has the name."""
    if type(entry).__module__.partition(".")[0] != __name__.partition(".")[0]:
        operators()  # ours come first
    there = _OPERATORS.get(entry.name, entry)
    if _place(there) != _place(entry):
        raise BadInput(f"There is an operator '{entry.name}' already.", "Give yours another name.")
    _OPERATORS[entry.name] = entry
    return entry


def _place(entry: Operator) -> tuple[str, str]:
    return type(entry).__module__, type(entry).__qualname__


def register_cost_only(entry: Operator) -> Operator:
    """An entry that `operator` finds unless there is a real one, and that `operators` does not list."""
    _COST_ONLY[entry.name] = entry
    return entry


def operators() -> Mapping[str, Operator]:
    """All registry entries that can be computed, by name."""
    from . import ops  # noqa: F401  (registers on import)

    return _OPERATORS


def operator(name: str, place: str = "") -> Operator:
    """The entry called ``name``; an unknown operator is refused with its place."""
    found = operators().get(name) or _COST_ONLY.get(name)
    if found is None:
        where = f" at '{place}'" if place else ""
        raise EdgeclError(f"Operator '{name}'{where} is not supported.", f"Supported: {', '.join(sorted(_OPERATORS))}.")
    return found
