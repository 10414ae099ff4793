"""The engine contract: the one thing methods talk to. `native` and `torch` implement it alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ..compiler import Plan
from .model import Model

Array = np.ndarray


@dataclass
class Meters:
    """What ran so far. FLOPs = 2 x MACs of convolutions and linear layers over living weights, real samples.

    halo_flops: the part of ``forward_flops`` + ``backward_flops`` that multiplied padding zeros.
    padded_lane_flops: work on lanes that hold no sample (not part of the FLOPs above).
    """

    forward_flops: int = 0
    backward_flops: int = 0
    halo_flops: int = 0
    padded_lane_flops: int = 0
    forwards: int = 0
    backwards: int = 0
    steps: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)


class Gradients(Protocol):
    """Accumulated gradients, flat over living weights of trained parameters in graph order."""

    flat: Array  # float32 [sum of living]; writable (A-GEM, clipping)

    def __getitem__(self, name: str) -> Array:
        """Gradient of one parameter over its living weights, canonical order (a view of ``flat``)."""

    def copy(self) -> Array: ...
    def dot(self, other: Array) -> float: ...
    def axpy(self, alpha: float, other: Array) -> None: ...
    def scale(self, alpha: float) -> None: ...
    def norm(self) -> float: ...


class Engine(Protocol):
    """Runs a plan over a model.

    forward(feeds, fetch, training, params) -> fetched arrays, float32 [B, ...]; B <= the plan's batch.
    backward(seeds) of the latest training forward; accumulates into ``gradients`` until `step`.
    step(lr) commits weights, optimizer state and batch-norm statistics together, then clears gradients.
    A weight outside the gradient subset or frozen is untouched by step: value, moments and counts stay
    bit-equal, no weight decay.
    """

    model: Model
    meters: Meters
    plan: Plan

    @property
    def gradients(self) -> Gradients: ...

    def forward(
        self,
        feeds: Mapping[str, Array],
        fetch: Sequence[str] = ("logits",),
        training: bool = True,
        params: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]: ...

    def backward(self, seeds: Mapping[str, Array]) -> None: ...
    def step(self, lr: float) -> None: ...
    def clear_gradients(self) -> None: ...
    def discard(self) -> None:
        """Forget accumulated gradients and uncommitted batch-norm statistics."""

    def visit_dense_gradients(self, names: Sequence[str], visit: Callable[[str, range, Array], None]) -> None: ...
    def snapshot(self) -> dict[str, Array]: ...
    def set_pattern(self, name: str, pattern: Array | None) -> None: ...
    def set_gradient_mask(self, name: str, subset: Array | None) -> None: ...
    def freeze(self, names: Iterable[str]) -> None: ...
    def unfreeze(self, names: Iterable[str]) -> None: ...
    def replan(self, plan: Any) -> None: ...
    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None: ...
    def predictor(self, batch: int) -> Callable[[Array], Array]: ...
    def changing(self) -> AbstractContextManager[Any]:
        """While it is entered, parameters may be replaced; predictors of other threads wait."""

    def state(self) -> dict[str, Array]: ...
    def load(self, state: Mapping[str, Array]) -> None: ...
