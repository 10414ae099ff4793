"""Intake: takes samples. Labels get head units, the store gets records, the stream buffer keeps the present task."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import BadInput
from ..storage import SampleStore
from ..storage.errors import WriteBudgetSpent
from ..storage.sets import distinct
from .buffer import StreamBuffer
from .labels import Label, LabelMap
from .spec import SampleSpec
from .tickets import RamTicket

Array = np.ndarray


class Notes(Protocol):
    """Who notes what came, for training anew (`erasure.diary.Diary`)."""

    def observed(self, ids: Array, count: int, *, buffered: bool, steps: int) -> None: ...
    def unstored(self, count: int) -> None: ...
    def of_subjects(self, subjects: Iterable[int]) -> None: ...


class Intake:
    """Labels, stream buffer and what goes to flash.

    Parameters
    ----------
    capacity : samples of the present task held in RAM
    most_labels : labels that may be known at most, or None
    needs_flash : whether a sample that is not on flash is of no use (the memory is filled from there)
    log : notes a decision

    lock : held while samples are taken;  unstored : samples that a spent write budget kept off flash
    """

    def __init__(
        self,
        spec: SampleSpec,
        capacity: int,
        store: SampleStore | None,
        diary: Notes,
        log: Callable[[str], None],
        *,
        ahead: int,
        most_labels: int | None = None,
        needs_flash: bool = False,
    ) -> None:
        self.spec, self.store, self.diary, self._log = spec, store, diary, log
        self.most_labels, self.needs_flash = most_labels, needs_flash
        self.lock = threading.Lock()
        self.labels = LabelMap(stored_labels(store))
        self._labels_stored = len(self.labels)
        self.buffer = StreamBuffer(spec, capacity, store, ahead)
        self.next_id = 0
        self.unstored = 0

    def know(self, own: Sequence[Label]) -> list[Label]:
        """Labels in the order of their head units, before any sample: the store's, else those that the network's head
        came with."""
        if not self.labels.labels:
            self.labels = LabelMap(own)
        return list(self.labels.labels)

    def take(
        self,
        x: Array,
        y: list[Label],
        subjects: Array,
        *,
        steps: int,
        times: Array | None = None,
        buffered: bool = True,
    ) -> Any:
        """A ticket for checked samples x [n, ...], with `lock` held. Nothing is taken when it raises `BadInput`.

        subjects : int32 [n], -1 for nobody's
        steps : the trainer has done;  buffered : also for the present task
        """
        if buffered:
            self.buffer.room(len(x))
        if self.most_labels is not None and self.labels.with_those(y) > self.most_labels:
            raise BadInput(
                f"The method keeps a value per class beside each sample, for {self.most_labels} labels at most.",
                "Use method er.",
            )
        units = self.labels.units(y, len(x))
        if self.store is None:
            ticket: Any = RamTicket(np.arange(self.next_id, self.next_id + len(x), dtype=np.int64))
            ids = np.full(len(x), -1, np.int64)
            self.next_id += len(x)
        else:
            self._store_labels()
            ticket = self._append(x, units, subjects, times)
            ids = ticket.ids
            self.diary.observed(ids, len(x), buffered=buffered, steps=steps)
        self.diary.of_subjects(distinct(subjects).tolist())
        if buffered:
            self.buffer.append(x, units, ids, subjects)
        return ticket

    def _store_labels(self) -> None:
        """On flash before the first record that needs them."""
        assert self.store is not None
        if len(self.labels) > self._labels_stored:
            self.store.meta_set({"labels": json.dumps(self.labels.labels).encode()})
            self._labels_stored = len(self.labels)

    def _append(self, x: Array, units: Array, subjects: Array, times: Array | None) -> Any:
        """A ticket of the store. When its daily write budget is spent the samples stay in RAM while it has room."""
        assert self.store is not None
        try:
            return self.store.append(x, units.astype(np.int32), subjects, times)
        except WriteBudgetSpent:
            if self.needs_flash or not self.buffer.fits(len(x)):
                raise
            self.unstored += len(x)
            self.diary.unstored(len(x))
            self._log(f"flash budget: {len(x)} samples kept in RAM only")
            return RamTicket(np.full(len(x), -1, np.int64))

    # -- saved state

    def state(self) -> dict[str, Any]:
        """The part beside the buffer's samples."""
        return {
            "labels": self.labels.labels,
            "next_id": self.next_id,
            "unstored": self.unstored,
            "buffer": self.buffer.capacity,
        }

    def load(self, state: Mapping[str, Any], buffer: Mapping[str, Any]) -> None:
        """Continue from `state` and the buffer's own; labels that the store knows beyond it stay known."""
        self.buffer.load(dict(buffer))
        self.labels = LabelMap(state["labels"])
        for label in stored_labels(self.store):
            self.labels.unit(label)
        self.next_id, self.unstored = int(state["next_id"]), int(state.get("unstored", 0))

    def forget(self, subject: int, ids: Array) -> dict[str, int]:
        """Take a subject's samples out of the buffer; how many."""
        return {"buffered": self.buffer.forget(subject)}

    def close(self) -> None:
        self.buffer.close()


def stored_labels(store: SampleStore | None) -> list[Label]:
    """Labels that the store knows, in the order of their head units."""
    found = None if store is None else store.meta_get("labels")
    return [] if found is None else json.loads(found)
