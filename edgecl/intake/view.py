"""BufferView: a stream buffer as it was when a training call began."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from ..errors import BadInput
from ..storage import ReadAhead, SampleStore

Array = np.ndarray


class Marked(Protocol):
    """Who counts which samples were trained on."""

    def mark(self, rows: Array, visited: bool = True) -> Array: ...


class BufferView:
    """`TaskData` over a buffer as it was: later samples do not appear. For one thread."""

    def __init__(
        self,
        samples: Array,
        labels: Array,
        ids: Array,
        subjects: Array,
        numbers: Array,
        *,
        store: SampleStore | None,
        reader: ReadAhead | None,
        buffer: Marked,
    ) -> None:
        self.samples, self.labels, self.ids, self.subjects, self.store = samples, labels, ids, subjects, store
        self.numbers = numbers
        self._reader = reader
        self._expected: deque[Array] = deque()  # positions of the batches on their way
        self._buffer = buffer
        self._firsts: list[Array] = []  # positions trained on for the first time

    @property
    def new(self) -> int:
        """Samples that were trained on for the first time through this view."""
        return sum(map(len, self._firsts))

    def visited(self, positions: Array, whole: bool) -> None:
        """Positions were trained on;  ``whole``: no other one of this view waits any more (held out, or removed)."""
        self._firsts.append(self._buffer.mark(positions))
        if whole:
            self._buffer.mark(np.arange(len(self.labels)))

    def undo_visits(self) -> None:
        """What they taught was taken back: they are new again."""
        if self.new:
            self._buffer.mark(np.concatenate(self._firsts), False)
        self._firsts.clear()

    def read(self, positions: Array) -> Array:
        held = positions < len(self.samples)
        out = np.empty((positions.size, *self.samples.shape[1:]), self.samples.dtype)
        out[held] = self.samples[positions[held]]
        if not held.all():
            found, ok = self._fetch(positions[~held])
            if not ok.all():
                lost = self.ids[positions[~held]][~ok].tolist()
                raise BadInput(
                    f"Records {lost} of the present task cannot be read from the store: evicted meanwhile, or damaged.",
                    "Call learn() again, which goes on without them.",
                )
            out[~held] = found
        return out

    def expect(self, positions: Array) -> None:
        """Let the mover bring what of these is not in RAM."""
        away = positions[positions >= len(self.samples)]
        if away.size and self._reader is not None:
            self._reader.expect(self.ids[away], self.labels[away])
            self._expected.append(away)

    def stop_expecting(self) -> None:
        """Forget what is on its way, and read everything when it is asked for from now on."""
        if self._reader is not None:
            self._reader.drop()
        self._expected.clear()
        self._reader = None

    def _fetch(self, away: Array) -> tuple[Array, Array]:
        """(samples, ok) of positions that are on flash only: as expected, or read now."""
        assert self.store is not None
        if self._expected and np.array_equal(self._expected[0], away):
            assert self._reader is not None
            self._expected.popleft()
            return self._reader.take()
        if self._expected:  # another order than was named: nothing of it is worth waiting for
            self.stop_expecting()
        found = self.store.read(self.ids[away], fields=())
        return found["samples"], found["ok"]
