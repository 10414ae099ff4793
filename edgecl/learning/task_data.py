"""What a task trains on, read by position: a stream's source, or several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..data import SampleSource
from ..storage.sets import distinct

Array = np.ndarray


class TaskRows(NamedTuple):
    """Current samples of a step.

    x : [B, ...];  y : int64 [B] head units, or float32 [B, C] soft targets;  ids : record ids, -1 without one
    indices : positions within the task's data;  subjects : int32 [B] whose samples they are, or None
    """

    x: Array
    y: Array
    ids: Array
    indices: Array
    subjects: Array | None


class TaskData(Protocol):
    """n samples by position.

    labels : int64 [n] head units;  ids : int64 [n] record ids in the store, -1 where there is none
    subjects : int32 [n] whose samples they are, or None where nobody's
    """

    @property
    def labels(self) -> Array: ...
    @property
    def ids(self) -> Array: ...
    @property
    def subjects(self) -> Array | None: ...

    def read(self, positions: Array) -> Array:
        """Samples [k, *shape], a copy."""

    def expect(self, positions: Array) -> None:
        """A read of these positions comes after those expected before. A hint: it changes no result."""


def numbers_of(data: TaskData, positions: Array) -> Array:
    """Numbers that samples keep within their task, whatever leaves the data before them; else their positions."""
    numbers: Array | None = getattr(data, "numbers", None)
    return positions if numbers is None else numbers[positions]


def tell_visited(data: TaskData, positions: Array, whole: bool) -> None:
    """Tell data that counts it which samples were trained on;  ``whole``: an order over all of it has ended."""
    told = getattr(data, "visited", None)
    if told is not None:
        told(positions, whole)


class SourceData:
    """The sources of one or more tasks, end to end; nothing but labels and ids is resident."""

    subjects: Array | None = None

    def __init__(self, sources: Sequence[SampleSource], ids: Sequence[Array | None] | None = None) -> None:
        self.sources = list(sources)
        known = [None] * len(self.sources) if ids is None else list(ids)
        self.labels = np.concatenate([s.labels for s in self.sources]).astype(np.int64)
        self.ids = np.concatenate(
            [np.full(len(s), -1, np.int64) if i is None else i for s, i in zip(self.sources, known)]
        )
        self._starts = np.cumsum([0, *(len(s) for s in self.sources)])

    def read(self, positions: Array) -> Array:
        if len(self.sources) == 1:
            return self.sources[0].read(positions)
        out = np.empty((len(positions), *self.sources[0].shape), self.sources[0].dtype)
        owner = np.searchsorted(self._starts, positions, side="right") - 1
        for k in distinct(owner):
            rows = np.flatnonzero(owner == k)
            out[rows] = self.sources[k].read(positions[rows] - self._starts[k])
        return out

    def expect(self, positions: Array) -> None:
        """The stream's own file is read when it is needed."""


class SubsetData:
    """Some samples of others, by their positions there."""

    def __init__(self, whole: TaskData, positions: Array) -> None:
        self.whole, self.positions = whole, positions
        self.labels, self.ids = whole.labels[positions], whole.ids[positions]
        self.subjects = None if whole.subjects is None else whole.subjects[positions]

    def read(self, positions: Array) -> Array:
        return self.whole.read(self.positions[positions])

    def expect(self, positions: Array) -> None:
        self.whole.expect(self.positions[positions])


class JoinedData:
    """Two sets of samples end to end."""

    def __init__(self, first: TaskData, second: TaskData) -> None:
        self.first, self.second, self.split = first, second, len(first.labels)

    @property
    def labels(self) -> Array:
        return np.concatenate([self.first.labels, self.second.labels])

    @property
    def ids(self) -> Array:
        return np.concatenate([self.first.ids, self.second.ids])

    @property
    def subjects(self) -> Array | None:
        parts = [np.full(len(d.labels), -1, np.int32) if d.subjects is None else d.subjects for d in self._both]
        return np.concatenate(parts)

    @property
    def _both(self) -> tuple[TaskData, TaskData]:
        return self.first, self.second

    def read(self, positions: Array) -> Array:
        left = positions < self.split
        parts = self.first.read(positions[left]), self.second.read(positions[~left] - self.split)
        out = np.empty((positions.size, *parts[0].shape[1:]), parts[0].dtype)
        out[left], out[~left] = parts
        return out

    def expect(self, positions: Array) -> None:
        self.first.expect(positions[positions < self.split])
