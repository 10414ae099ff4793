"""StreamBuffer: the samples of the present task, the first ones in RAM, the rest read back from the store."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from ..errors import BadInput
from ..storage import ReadAhead, SampleStore
from ..storage.transfer import live_ids
from .growing import GrowingArray
from .scale import ScaleWatch
from .spec import SampleSpec

Array = np.ndarray


class StreamBuffer:
    """At most ``capacity`` samples in RAM. With a store a task may be longer: what does not fit comes back
    from flash through a mover, which has ``ahead`` records on their way at most. Without one the oldest
    samples that have been learned make room, and a buffer of unlearned samples refuses more.

    Safe to append to from one thread while another trains on a `view`.

    scale : watches whether samples lie far outside
    """

    def __init__(self, spec: SampleSpec, capacity: int, store: SampleStore | None, ahead: int = 64) -> None:
        self.spec, self.capacity, self.store, self.ahead = spec, capacity, store, ahead
        self.scale = ScaleWatch(None)
        self._lock = threading.Lock()
        self._reader: ReadAhead | None = None  # made with the first view that needs one
        self._view: BufferView | None = None
        self._gone = 0  # samples that had left the store when `_drop_lost` last looked
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._view = None
            if self._reader is not None:
                self._reader.drop()
            self._samples = GrowingArray(np.zeros((0, *self.spec.shape), self.spec.dtype))
            self._labels, self._ids = GrowingArray(np.zeros(0, np.int64)), GrowingArray(np.zeros(0, np.int64))
            self._subjects = GrowingArray(np.zeros(0, np.int32))  # -1: of nobody
            self._numbers = GrowingArray(np.zeros(0, np.int64))  # within the task, whatever leaves before it
            self._next = 0
            self.learned = 0  # the first so many have been trained on

    @property
    def samples(self) -> Array:
        """Those in RAM, always the first ones of the task; arrays of labels, ids and subjects cover all."""
        return self._samples.values

    @property
    def labels(self) -> Array:
        return self._labels.values

    @property
    def ids(self) -> Array:
        return self._ids.values

    @property
    def subjects(self) -> Array:
        return self._subjects.values

    @property
    def numbers(self) -> Array:
        """int64, ascending: a sample's number within its task; it stays when others leave."""
        return self._numbers.values

    def __len__(self) -> int:
        return len(self._labels.values)

    def room(self, count: int) -> None:
        """Refuse ``count`` more samples when they could be neither kept nor read back."""
        if self.store is None and len(self) - self.learned + count > self.capacity:
            raise BadInput(
                f"The stream buffer holds {len(self) - self.learned} samples not yet learned; "
                f"{count} more exceed its {self.capacity}.",
                "Call learn(), give a larger buffer=, or a store= to keep the rest on flash.",
            )

    def fits(self, count: int) -> bool:
        """Whether ``count`` more samples would all be held in RAM."""
        return len(self.samples) == len(self) and len(self) + count <= self.capacity

    def append(self, x: Array, units: Array, ids: Array, subjects: Array | int = -1) -> None:
        self.scale.look(x)
        with self._lock:
            surplus = 0 if self.store is not None else max(0, len(self) + len(x) - self.capacity)
            held = (self._samples, self._labels, self._ids, self._subjects, self._numbers)
            rows = [r.without_first(surplus) for r in held]
            learned = max(0, self.learned - surplus)
            free = self.capacity - len(rows[0].values)
            first = x[:free] if free > 0 and len(rows[0].values) == len(rows[1].values) else x[:0]
            numbers = np.arange(self._next, self._next + len(x), dtype=np.int64)
            added: tuple[Array, ...] = (first, units, ids, np.full(len(x), subjects, np.int32), numbers)
            samples, labels, all_ids, people, numbered = (r.appended(a) for r, a in zip(rows, added))
            # all at once, whatever interrupts
            self._samples, self._labels, self._ids, self._subjects = samples, labels, all_ids, people
            self._numbers, self._next = numbered, self._next + len(x)
            self.learned = learned

    def forget(self, subject: int) -> int:
        """Take out a subject's samples, overwriting those in RAM; how many. No view made before may be used."""
        with self._lock:
            mine = self.subjects == subject
            if self._reader is not None:
                self._reader.wipe()
            self._view = None
            samples, old = GrowingArray(self.samples[~mine[: len(self.samples)]]), self._samples
            kept = (self.labels, self.ids, self.subjects, self.numbers)
            labels, ids, subjects, numbers = (GrowingArray(a[~mine]) for a in kept)
            learned = self.learned - int(mine[: self.learned].sum())
            self._samples, self._labels, self._ids, self._subjects = samples, labels, ids, subjects
            self._numbers, self.learned = numbers, learned
            old.wipe()
            return int(mine.sum())

    def _drop_lost(self) -> None:
        """Leave out what was evicted from the store, or found damaged, before it came back from flash."""
        held = len(self.samples)
        if self.store is None or len(self) == held or self._gone == self.store.next_id - self.store.count:
            return
        self._gone = self.store.next_id - self.store.count
        kept = np.ones(len(self), bool)
        kept[held:] = np.isin(self.ids[held:], live_ids(self.store))
        self.learned = int(kept[: self.learned].sum())
        rows = (self.labels, self.ids, self.subjects, self.numbers)
        self._labels, self._ids, self._subjects, self._numbers = (GrowingArray(a[kept]) for a in rows)

    def drop_first(self, count: int) -> None:
        """The first ``count`` samples leave."""
        if count >= len(self):
            self.clear()
            return
        with self._lock:
            self._view = None
            if self._reader is not None:
                self._reader.drop()
            held = min(count, len(self.samples))
            rest = (self._labels, self._ids, self._subjects, self._numbers)
            samples = self._samples.without_first(held)
            labels, ids, subjects, numbers = (r.without_first(count) for r in rest)
            self._samples, self._labels, self._ids, self._subjects = samples, labels, ids, subjects
            self._next -= int(numbers.values[0])
            self._numbers = GrowingArray(numbers.values - numbers.values[0])  # of the next task
            self.learned = max(0, self.learned - count)

    def view(self, count: int | None = None) -> BufferView:
        """The samples so far, or the first ``count``, as the data of a training call; the view before it must no longer
        be used."""
        with self._lock:
            self._drop_lost()
            if self.store is not None and len(self) > len(self.samples) and self._reader is None:
                self._reader = ReadAhead(self.store, queue=self.ahead)
            if self._reader is not None:
                self._reader.drop()
            x, y, ids, subjects = (a[:count] for a in (self.samples, self.labels, self.ids, self.subjects))
            self._view = BufferView(x, y, ids, subjects, self.store, self._reader, self.numbers[:count])
            return self._view

    def shed(self) -> None:
        """Read no longer ahead for the present view; give the RAM for it back. Changes no result."""
        if self._view is not None and self._reader is not None:
            self._view.stop_expecting()
            self._reader.trim()

    def close(self) -> None:
        """Stop the mover; before the store is closed."""
        if self._reader is not None:
            self._reader.close()

    def state(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "labels": self.labels,
            "ids": self.ids,
            "subjects": self.subjects,
            "numbers": self.numbers,
            "next": self._next,
            "learned": self.learned,
            "scale_open": int(self.scale.open),
            "scale_chosen": int(self.scale.chosen),
        }

    def load(self, state: dict[str, Any]) -> None:
        self._samples, self._labels, self._ids = (GrowingArray(state[k]) for k in ("samples", "labels", "ids"))
        unknown = np.full(len(self.labels), -1, np.int32)  # a state saved before subjects were kept
        self._subjects = GrowingArray(state.get("subjects", unknown))
        self._numbers = GrowingArray(state.get("numbers", np.arange(len(self.labels), dtype=np.int64)))
        self._next = int(state.get("next", len(self.labels)))
        self.learned = int(state["learned"])
        # an older state keeps the scale of its network
        self.scale.open, self.scale.chosen = (bool(state.get(k, 0)) for k in ("scale_open", "scale_chosen"))


class BufferView:
    """`TaskData` over a buffer as it was: later samples do not appear. For one thread."""

    def __init__(
        self,
        samples: Array,
        labels: Array,
        ids: Array,
        subjects: Array,
        store: SampleStore | None,
        reader: ReadAhead | None,
        numbers: Array | None = None,
    ) -> None:
        self.samples, self.labels, self.ids, self.subjects, self.store = samples, labels, ids, subjects, store
        self.numbers = np.arange(len(labels)) if numbers is None else numbers
        self._reader = reader
        self._expected: deque[Array] = deque()  # positions of the batches on their way

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
