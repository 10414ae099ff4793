"""PolicyContext: what a sparsity policy sees and may do at a task's borders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.base import Engine
from ..methods.batch import Array, Batch, Draw
from ..methods.context import Context, TaskInfo
from ..methods.phase import Phase
from .moves import Moves
from .tensor import Tensor


@dataclass(frozen=True)
class PolicyContext:
    """A `Context` with the sparse tensors and a way to move them.

    tensors : by name, in graph order
    apply : checks `Moves` and applies them at once; raises `BrokenContract` before anything changed
    """

    context: Context
    tensors: Mapping[str, Tensor]
    apply: Callable[[Moves], None]

    @property
    def engine(self) -> Engine:
        return self.context.engine

    @property
    def memory(self) -> Any:
        return self.context.memory

    @property
    def rng(self) -> np.random.Generator:
        return self.context.rng

    @property
    def task(self) -> TaskInfo:
        return self.context.task

    @property
    def seen(self) -> Array:
        return self.context.seen

    @property
    def phase(self) -> Phase | None:
        return self.context.phase

    def task_samples(self, rows: int, limit: int | None = None) -> Iterator[Batch]:
        """See `Context.task_samples`."""
        return self.context.task_samples(rows, limit)

    def memory_samples(self, rows: int) -> Iterator[Draw]:
        """See `Context.memory_samples`."""
        return self.context.memory_samples(rows)

    def holdout(self, rows: int) -> Iterator[Batch]:
        """See `Context.holdout`."""
        return self.context.holdout(rows)

    def evaluate(self, x: Array, fetch: Sequence[str] = ("logits",), side: str | None = None) -> dict[str, Array]:
        """See `Context.evaluate`."""
        return self.context.evaluate(x, fetch, side)
