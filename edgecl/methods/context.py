"""Context: what every event of a method or a sparsity policy sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..engine.base import Engine
from .batch import Array, Batch, Draw
from .phase import Phase


@dataclass(frozen=True)
class TaskInfo:
    """The present task.

    Parameters
    ----------
    number : 0-based; None only where the stream has no tasks
    first : whether it is the first one; False in a stream without tasks
    units : int64 [k] head units of its classes; None where the stream has no tasks
    """

    number: int | None
    first: bool
    units: Array | None = None


class Context(Protocol):
    """What an event may look at and use. Nothing in it is the caller's to keep beyond the call.

    memory : the `EpisodicMemory`, or None;  rng : the generator of methods (of policies, for a policy)
    seen : bool [C], head units with at least one sample
    """

    @property
    def engine(self) -> Engine: ...
    @property
    def memory(self) -> Any: ...
    @property
    def rng(self) -> np.random.Generator: ...
    @property
    def task(self) -> TaskInfo: ...
    @property
    def seen(self) -> Array: ...
    @property
    def phase(self) -> Phase | None:
        """The phase that a step belongs to; None in a task's own epochs."""

    def task_samples(self, rows: int, limit: int | None = None) -> Iterator[Batch]:
        """The task's samples, not augmented, ``rows`` at a time from RAM or flash, at most ``limit`` in all,
        evenly over the task."""

    def memory_samples(self, rows: int) -> Iterator[Draw]:
        """The filled memory slots in slot order, not augmented, ``rows`` at a time."""

    def stored_samples(self, ids: Array, rows: int) -> Iterator[Batch]:
        """The samples with these record ids that the store can still read, ``rows`` at a time; none without a store."""

    def holdout(self, rows: int) -> Iterator[Batch]:
        """The rows kept out of this task's training (`Needs.holdout`), ``rows`` at a time."""

    def backward(self, x: Array, seed: Callable[[Array], Array]) -> Array:
        """A training forward and backward of samples ``x``, at most the plan's batch, outside a step; metered. ``seed``
        gives the gradient of the logits [n, C]; gradients accumulate until `Engine.discard`. The logits."""

    def evaluate(self, x: Array, fetch: Sequence[str] = ("logits",), side: str | None = None) -> dict[str, Array]:
        """Tensors of an evaluation forward of samples ``x`` [n, ...], by the model or a side; metered."""
