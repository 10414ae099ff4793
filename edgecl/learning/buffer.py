"""StreamBuffer: the samples of the present task, the first ones in RAM, the rest read back from the store."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..errors import BadInput
from ..storage import SampleStore
from .parts import SampleSpec

Array = np.ndarray


class StreamBuffer:
    """At most ``capacity`` samples in RAM. With a store a task may be longer: what does not fit is read from
    flash. Without one the oldest samples that have been learned make room, and a buffer of unlearned samples
    refuses more.

    Safe to append to from one thread while another trains on a `view`.
    """

    def __init__(self, spec: SampleSpec, capacity: int, store: SampleStore | None) -> None:
        self.spec, self.capacity, self.store = spec, capacity, store
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self.samples = np.zeros((0, *self.spec.shape), self.spec.dtype)
            self.labels = np.zeros(0, np.int64)
            self.ids = np.zeros(0, np.int64)
            self.learned = 0  # the first so many have been trained on

    def __len__(self) -> int:
        return int(self.labels.size)

    def room(self, count: int) -> None:
        """Refuse ``count`` more samples when they could be neither kept nor read back."""
        if self.store is None and len(self) - self.learned + count > self.capacity:
            raise BadInput(
                f"The stream buffer holds {len(self) - self.learned} samples not yet learned; "
                f"{count} more exceed its {self.capacity}.",
                "Call learn(), give a larger buffer=, or a store= to keep the rest on flash.",
            )

    def append(self, x: Array, units: Array, ids: Array) -> None:
        with self._lock:
            if self.store is None:
                surplus = max(0, len(self) + len(x) - self.capacity)
                self.samples, self.labels, self.ids = (
                    a[surplus:] for a in (self.samples, self.labels, self.ids)
                )
                self.learned = max(0, self.learned - surplus)
            free = self.capacity - len(self.samples)
            # samples in RAM are always the first ones of the task
            if free > 0 and len(self.samples) == len(self):
                self.samples = np.concatenate([self.samples, x[:free]])
            self.labels = np.concatenate([self.labels, units])
            self.ids = np.concatenate([self.ids, ids])

    def view(self) -> BufferView:
        """The samples so far, as the data of a training call."""
        with self._lock:
            return BufferView(self.samples, self.labels, self.ids, self.store)

    def state(self) -> dict[str, Any]:
        return {"samples": self.samples, "labels": self.labels, "ids": self.ids, "learned": self.learned}

    def load(self, state: dict[str, Any]) -> None:
        self.samples, self.labels, self.ids = state["samples"], state["labels"], state["ids"]
        self.learned = int(state["learned"])


class BufferView:
    """`TaskData` over a buffer as it was: later samples do not appear."""

    def __init__(self, samples: Array, labels: Array, ids: Array, store: SampleStore | None) -> None:
        self.samples, self.labels, self.ids, self.store = samples, labels, ids, store

    def read(self, positions: Array) -> Array:
        held = positions < len(self.samples)
        out = np.empty((positions.size, *self.samples.shape[1:]), self.samples.dtype)
        out[held] = self.samples[positions[held]]
        if not held.all():
            assert self.store is not None
            found = self.store.read(self.ids[positions[~held]], fields=())
            if not found["ok"].all():
                lost = self.ids[positions[~held]][~found["ok"]].tolist()
                raise BadInput(
                    f"Records {lost} of the present task cannot be read from the store.", "Call end_task()."
                )
            out[~held] = found["samples"]
        return out
