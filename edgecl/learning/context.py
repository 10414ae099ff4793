"""EventContext: what the events of methods and sparsity policies see of the training core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.base import Engine
from ..methods import Batch, Draw
from ..methods.context import TaskInfo
from ..methods.phase import Phase
from ..storage import SampleStore
from .ledger import Ledger
from .memory_rows import gather
from .task_data import TaskData, numbers_of

Array = np.ndarray


@dataclass(frozen=True)
class EventContext:
    """See `methods.context.Context`.

    Parameters
    ----------
    data : the task's samples, or None where an event has none
    store : of the samples, or None
    held_out : positions within ``data`` and memory slots kept out of training
    phase : the phase that a step belongs to, None in a task's own epochs
    """

    engine: Engine
    memory: Any
    rng: np.random.Generator
    task: TaskInfo
    seen: Array
    ledger: Ledger
    data: TaskData | None = None
    store: SampleStore | None = None
    held_out: tuple[Array, Array] | None = None
    phase: Phase | None = None

    def task_samples(self, rows: int, limit: int | None = None) -> Iterator[Batch]:
        if self.data is None:
            return
        whole = len(self.data.labels)
        count = whole if limit is None else min(limit, whole)
        chosen = np.arange(count) * whole // max(count, 1)  # evenly: the samples may lie class by class
        for start in range(0, count, rows):
            yield self._batch(chosen[start : start + rows])

    def _batch(self, positions: Array) -> Batch:
        assert self.data is not None
        return Batch(
            x=self.data.read(positions),
            y=self.data.labels[positions],
            ids=self.data.ids[positions],
            indices=numbers_of(self.data, positions),
            task=self.task.number,
            task_units=self.task.units,
            seen_units=self.seen,
        )

    def memory_samples(self, rows: int) -> Iterator[Draw]:
        if self.memory is None:
            return
        filled = np.flatnonzero(self.memory.classes >= 0)
        for start in range(0, len(filled), rows):
            yield gather(self.memory, filled[start : start + rows])

    def stored_samples(self, ids: Array, rows: int) -> Iterator[Batch]:
        if self.store is None:
            return
        for start in range(0, len(ids), rows):
            wanted = np.asarray(ids[start : start + rows], np.int64)
            found = self.store.read(wanted, fields=())
            ok = found["ok"]
            yield Batch(found["samples"][ok], found["classes"][ok].astype(np.int64), wanted[ok])

    def holdout(self, rows: int) -> Iterator[Batch]:
        positions, slots = (np.zeros(0, np.int64),) * 2 if self.held_out is None else self.held_out
        for start in range(0, len(positions), rows):
            yield self._batch(positions[start : start + rows])
        if self.memory is None:
            return
        slots = slots[self.memory.classes[slots] >= 0]
        for start in range(0, len(slots), rows):
            draw = gather(self.memory, slots[start : start + rows])
            ids = self.memory.ids[draw.slots]
            yield Batch(draw.x, draw.y, ids, None, self.task.number, self.task.units, self.seen)

    def backward(self, x: Array, seed: Callable[[Array], Array]) -> Array:
        graph = self.engine.model.graph
        logits = self.engine.forward({graph.input: x}, training=True)["logits"]
        self.engine.backward({"logits": seed(logits)})
        self.ledger.dense_rows(forward=len(x), backward=len(x))
        return logits

    def evaluate(self, x: Array, fetch: Sequence[str] = ("logits",), side: str | None = None) -> dict[str, Array]:
        engine, graph = self.engine, self.engine.model.graph
        params, feed, most = None if side is None else engine.side(side), graph.input, engine.plan.batch
        if not len(x):
            return {name: np.zeros((0, *graph.shapes[graph.tensor(name)]), np.float32) for name in fetch}
        parts = [
            engine.forward({feed: x[at : at + most]}, fetch=tuple(fetch), training=False, params=params)
            for at in range(0, len(x), most)
        ]
        self.ledger.dense_rows(forward=len(x))
        return {name: np.concatenate([p[name] for p in parts]) for name in fetch}
