"""Intake: takes samples. Labels get head units, the store gets records, the stream buffer keeps what is not learned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from ..errors import BadInput
from ..storage import SampleStore
from ..storage.errors import WriteBudgetSpent
from ..storage.sets import distinct
from .borders import Borders
from .buffer import StreamBuffer
from .labels import Label, LabelMap, sole_of
from .tickets import RamTicket

Array = np.ndarray
PIECE = 256  # records read at a time


class Notes(Protocol):
    """Who notes what came, for training anew (`erasure.diary.Diary`)."""

    def observed(self, ids: Array, count: int, *, buffered: bool, steps: int) -> None: ...
    def unstored(self, count: int) -> None: ...
    def of_subjects(self, subjects: Iterable[int]) -> None: ...


class Intake:
    """Labels, stream buffer and what goes to flash.

    Parameters
    ----------
    needs_flash : whether a sample that is not on flash is of no use (the memory is filled from there)
    log : notes a decision

    lock : held while samples are taken;  unstored : samples that a spent write budget kept off flash
    lost : samples that the store evicted, or found damaged, before they were learned
    """

    def __init__(
        self, buffer: StreamBuffer, diary: Notes, log: Callable[[str], None], needs_flash: bool = False
    ) -> None:
        self.buffer, self.store, self.diary, self._log = buffer, buffer.store, diary, log
        self.needs_flash = needs_flash
        self.lock = threading.Lock()
        self.labels = stored_labels(self.store)
        self._labels_stored = (self.labels, self.labels.changes)
        self.borders = Borders(self.store)
        self.next_id = 0
        self.unstored = self.lost = 0

    def know(self, own: Sequence[Label]) -> list[Label | None]:
        """Labels in the order of their head units, before any sample: the store's, else those that the network's head
        came with."""
        if not self.labels.labels:
            self.labels = LabelMap(own)
        return list(self.labels.labels)

    def take(
        self,
        x: Array,
        y: list[Label | None],
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
        labelled = np.array([label is not None for label in y], bool)
        if self.store is None and not labelled.all():
            raise BadInput(
                f"Sample {int(np.argmin(labelled))} has no label, and no store keeps it until then.", "Give store=."
            )
        if buffered:
            self.buffer.room(len(x))
        known = len(self.labels)
        units = self.labels.units(y, len(x))
        self.labels.used_by(units, subjects, known)
        if self.store is None:
            ticket: Any = RamTicket(np.arange(self.next_id, self.next_id + len(x), dtype=np.int64))
            ids = np.full(len(x), -1, np.int64)
            self.next_id += len(x)
        else:
            self._store_labels()
            ticket = self._append(x, units, subjects, times)
            ids = ticket.ids
            for rows in runs(labelled):
                self.diary.observed(ids[rows], len(ids[rows]), buffered=buffered and labelled[rows][0], steps=steps)
        self.diary.of_subjects(distinct(subjects).tolist())
        if buffered:
            passed = self.buffer.reservoir.passed
            x, units, ids, subjects = (a if labelled.all() else a[labelled] for a in (x, units, ids, subjects))
            self.buffer.append(x, units, ids, subjects)
            if self.buffer.reservoir.passed > passed == 0:
                self._log(f"stream buffer full: {self.buffer.capacity} samples are a reservoir of those that come")
        return ticket

    def _store_labels(self) -> None:
        """On flash before the first record that needs them."""
        now, (stored, changes) = self.labels, self._labels_stored
        if self.store is not None and (now is not stored or now.changes != changes):
            count = now.changes
            self.store.name_classes(now.labels, now.sole)
            self._labels_stored = (now, count)

    def _append(self, x: Array, units: Array, subjects: Array, times: Array | None) -> Any:
        """A ticket of the store. When its daily write budget is spent the samples stay in RAM while it has room."""
        assert self.store is not None
        try:
            return self.store.append(x, units.astype(np.int32), subjects, times)
        except WriteBudgetSpent:
            if self.needs_flash or not self.buffer.fits(len(x)) or (units < 0).any():
                raise
            self.unstored += len(x)
            self.diary.unstored(len(x))
            self._log(f"flash budget: {len(x)} samples kept in RAM only")
            return RamTicket(np.full(len(x), -1, np.int64))

    def drop_lost(self) -> None:
        """Samples that are in the store no more wait no longer to be learned."""
        before, self.lost = self.lost, self.lost + self.buffer.drop_lost()
        if self.lost.bit_length() > before.bit_length():  # told again when it has doubled
            self._log(f"store: {self.lost} samples were evicted, or found damaged, before they were learned")

    # -- tasks, and records that no saved state knows

    def end_task(self, name: str | None) -> None:
        """What comes from here on is of the task ``name``; `lock` is held."""
        self.borders.end(name)
        self.buffer.end_portion()

    def covers(self) -> dict[str, Any] | None:
        """What the present state knows of the store: records from ``next_id`` on are new to it, those ``waiting`` for
        a label too."""
        if self.store is None:
            return None
        waiting = self.store.ids_of_class(-1)
        return {"next_id": self.store.next_id, "borders": self.borders.count, "waiting": waiting}

    def unknown(self, next_id: int, waiting: Array) -> Array:
        """int64, ascending: live records with a label that a state with these `covers` does not know."""
        assert self.store is not None
        found = [np.zeros(0, np.int64)]
        for unit in self.store.classes():
            if 0 <= unit < len(self.labels) and self.labels.labels[unit] is not None:
                ids = self.store.ids_of_class(unit)
                found.append(ids[(ids >= next_id) | np.isin(ids, waiting)] if len(waiting) else ids[ids >= next_id])
        return np.sort(np.concatenate(found))

    def take_stored(self, ids: Array) -> None:
        """Records of the store, ascending, are samples of the task observed last, to be trained on."""
        assert self.store is not None
        units, subjects = np.zeros(len(ids), np.int64), self._subjects_of(ids)
        for unit in self.store.classes():
            if unit >= 0:
                units[np.isin(ids, self.store.ids_of_class(unit))] = unit
        self.buffer.append_stored(units, ids, subjects, self._read_first(ids))
        self.diary.of_subjects(distinct(subjects).tolist())

    def _subjects_of(self, ids: Array) -> Array:
        """int32 [n], whose these records of the store are; -1 for nobody's."""
        assert self.store is not None
        subjects = np.full(len(ids), -1, np.int32)
        for subject in self.store.subjects():
            if subject >= 0:
                subjects[np.isin(ids, self.store.ids_of_subject(subject))] = subject
        return subjects

    def _read_first(self, ids: Array) -> Array:
        """Samples of the first of these records, as many as the buffer holds in RAM."""
        assert self.store is not None
        room = self.buffer.capacity - len(self.buffer) if self.buffer.fits(0) else 0
        parts = [self.buffer.samples[:0]]
        for at in range(0, min(room, len(ids)), PIECE):
            got = self.store.read(ids[at : min(at + PIECE, room)], fields=())
            sound = int(np.argmin(np.append(got["ok"], 0)))
            parts.append(got["samples"][:sound])
            if sound < len(got["ok"]):  # what cannot be read comes back from flash, or is named, when its turn comes
                break
        return np.concatenate(parts)

    # -- samples change

    def name_labels(self, labels: LabelMap) -> None:
        """Go on with other names of the head units; on flash when it returns. `lock` is held."""
        before, self.labels = self.labels, labels
        try:
            self._store_labels()
        except BaseException:
            self.labels = before
            raise

    def amend(self, ids: Array, units: Array, again: bool) -> None:
        """Samples ``ids``, ascending, of the store have other head units [n] now, -2 where they were removed. again:
        they are trained on with what they are now, those that the buffer does not hold too."""
        gone = units < 0
        self.buffer.remove(ids[gone])
        held = self.buffer.relabel(ids[~gone], units[~gone], again)
        if again and not held.all():
            self.take_stored(ids[~gone][~held])

    # -- saved state

    def state(self) -> dict[str, Any]:
        """The part beside the buffer's samples."""
        return {
            "labels": self.labels.labels,
            "sole_labels": [list(pair) for pair in self.labels.sole.items()],
            "next_id": self.next_id,
            "unstored": self.unstored,
            "lost": self.lost,
            "buffer": self.buffer.capacity,
            "covers": self.covers(),
        }

    def load(self, state: Mapping[str, Any], buffer: Mapping[str, Any]) -> None:
        """Continue from `state` and the buffer's own; labels that the store knows beyond it stay known."""
        if "portions" not in buffer and state.get("ending") is not None:  # saved by a version that had two at most
            ending = int(state["ending"])
            buffer = {**buffer, "portions": [ending, len(buffer["labels"]) - ending]}
        self.buffer.load(buffer)
        stored, known = stored_labels(self.store), list(state["labels"])
        sole = {unit: one for unit, one in sole_of(state, known).items() if unit >= len(stored)} | stored.sole
        self.labels = LabelMap(stored.labels + known[len(stored) :], sole)
        self._labels_stored = (self.labels, self.labels.changes - (len(self.labels) > len(stored)))
        self.borders.load(int((state.get("covers") or {}).get("borders", 0)))
        self.next_id, self.unstored = int(state["next_id"]), int(state.get("unstored", 0))
        self.lost = int(state.get("lost", 0))

    def counters(self) -> dict[str, int]:
        """Samples that are held, and those that were never trained on."""
        passed = self.buffer.reservoir.passed
        counts = {"buffered": len(self.buffer), "new": self.buffer.fresh, "passed_by": passed}
        return {"kept_in_ram_only": self.unstored, "lost_unlearned": self.lost, **counts}

    def forget(self, subject: int, ids: Array) -> dict[str, int]:
        """Take a subject's samples out of the buffer, and the labels that only it had; how many."""
        before, self.labels = self.labels, self.labels.without_subject(subject)
        self._labels_stored = (self.labels, self.labels.changes)  # the store has done so
        return {"buffered": self.buffer.forget(subject), "labels": len(before.sole) - len(self.labels.sole)}

    def close(self) -> None:
        self.buffer.close()


def runs(values: Array) -> list[slice]:
    """Stretches of equal values [n]."""
    cuts = np.flatnonzero(np.diff(values)) + 1
    ends = [0, *cuts.tolist(), len(values)]
    return [slice(a, b) for a, b in pairwise(ends) if b > a]


def stored_labels(store: SampleStore | None) -> LabelMap:
    """Labels that the store knows, in the order of their head units."""
    found = None if store is None else store.class_names()
    return LabelMap() if found is None else LabelMap(found.names, found.sole)
