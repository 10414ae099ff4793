"""Model: parameters by name, in canonical order. It outlives every plan and engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import BadInput
from ..graph import Graph, ParameterSpec


@dataclass
class Parameter:
    """One tensor. Its arrays hold the living weights only, in (out, in, kh, kw) order.

    values : float32 [living]
    pattern : int32 [living], sorted flat indices into ``spec.shape``, or None when every weight lives
    moments : optimizer state by name (``momentum``; ``adam_m``, ``adam_v``), float32 [living]
    gradient_subset : int32, sorted positions within the living weights that receive gradients, or None for all
    frozen : no gradient at all
    step_count : Adam's step count, int
    """

    spec: ParameterSpec
    values: np.ndarray
    pattern: np.ndarray | None = None
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    gradient_subset: np.ndarray | None = None
    frozen: bool = False
    step_count: int = 0

    @property
    def living(self) -> int:
        return int(self.values.size)

    @property
    def trained_count(self) -> int:
        """Weights that receive a gradient: the subset's size, 0 when frozen."""
        if self.frozen or not self.spec.trained:
            return 0
        return self.living if self.gradient_subset is None else int(self.gradient_subset.size)

    @property
    def density(self) -> float:
        return self.living / self.spec.size

    def dense(self, array: np.ndarray | None = None) -> np.ndarray:
        """``array`` (default: the values) scattered to the full shape, zeros where nothing lives."""
        array = self.values if array is None else array
        if self.pattern is None:
            return array.reshape(self.spec.shape)
        full = np.zeros(self.spec.size, array.dtype)
        full[self.pattern] = array
        return full.reshape(self.spec.shape)

    def set_pattern(self, pattern: np.ndarray | None) -> None:
        """Survivors keep value and optimizer state, newcomers start at zero (value and state)."""
        new = None if pattern is None else check_pattern(pattern, self.spec)
        old = np.arange(self.spec.size, dtype=np.int32) if self.pattern is None else self.pattern
        target = np.arange(self.spec.size, dtype=np.int32) if new is None else new
        place = np.searchsorted(old, target)
        place[place == old.size] = 0
        kept = old[place] == target if old.size else np.zeros(target.size, bool)

        def carry(array: np.ndarray) -> np.ndarray:
            fresh = np.zeros(target.size, array.dtype)
            fresh[kept] = array[place[kept]]
            return fresh

        self.values = carry(self.values)
        self.moments = {k: carry(v) for k, v in self.moments.items()}
        self.pattern = new
        self.gradient_subset = None


def check_pattern(pattern: np.ndarray, spec: ParameterSpec) -> np.ndarray:
    """The pattern as sorted unique int32 within the tensor; raises `BadInput` otherwise."""
    pattern = np.ascontiguousarray(pattern, np.int32)
    if pattern.ndim != 1 or (
        pattern.size and (pattern[0] < 0 or pattern[-1] >= spec.size or np.any(np.diff(pattern) <= 0))
    ):
        raise BadInput(
            f"The pattern for '{spec.name}' is not a sorted list of distinct indices below {spec.size}.",
            "Pass sorted unique flat indices into the tensor's shape.",
        )
    return pattern


class Model:
    """Parameters of a graph by name; see `Parameter`.

    >>> model = Model(graph, np.random.default_rng(0))
    """

    def __init__(self, graph: Graph, rng: np.random.Generator) -> None:
        self.graph = graph
        self.parameters: dict[str, Parameter] = {
            name: Parameter(spec, initial_values(spec, rng)) for name, spec in graph.parameters.items()
        }

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None:
        """Fresh initial values on the present pattern; optimizer state to zero."""
        for name in names:
            p = self.parameters[name]
            full = initial_values(p.spec, rng)
            p.values[:] = full if p.pattern is None else full[p.pattern]
            for m in p.moments.values():
                m[:] = 0
            p.step_count = 0

    def densities(self) -> Mapping[str, float]:
        return {n: p.density for n, p in self.parameters.items()}


def initial_values(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """torch's default initialisation, drawn from ``rng``: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for conv and linear."""
    if spec.init == "ones":
        return np.ones(spec.size, np.float32)
    if spec.init == "zeros":
        return np.zeros(spec.size, np.float32)
    bound = 1.0 / np.sqrt(spec.fan_in)
    return rng.uniform(-bound, bound, spec.size).astype(np.float32)
