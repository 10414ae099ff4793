"""Episodic memory: a fixed block of slots in RAM from which replay batches are drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .arguments import ids_of, ints_of
from .errors import BadRecord
from .places import Places
from .schema import StreamSchema
from .trusted import memory_state

Values = Mapping[str, Any]
_SLOT_BYTES = 32  # of a slot beside its sample


class EpisodicMemory:
    """``slots`` samples of one stream, with label, id, subject and fields.

    samples [slots, *shape]; classes int32, -1 is an empty slot; ids int64 and subjects int32, -1 unknown;
    versions int64, changed with every change of a slot; order int64, the offer at which the slot was
    filled; fields: name -> [slots, W] with W the widest value so far (0 until a field is used), widths:
    name -> int32 [slots]; offered: how many samples the policy has been offered. A slot whose id is -1
    holds a sample the store does not know; its version still moves.
    """

    def __init__(self, slots: int, schema: StreamSchema) -> None:
        if slots < 1:
            raise BadRecord(f"A memory of {slots} slots.", "Use at least 1.")
        takes = slots * (schema.sample_bytes + _SLOT_BYTES)
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        if takes > there:
            what = f"A memory of {slots:,} slots takes {takes:,} bytes; this machine has {there:,}."
            raise BadRecord(what, "Use fewer slots.")
        self.schema = schema
        self.slots = slots
        self.offered = 0
        self.generation = 0  # changes when the arrays are replaced by others
        self.samples = np.zeros((slots, *schema.sample_shape), schema.sample_dtype)
        self.classes = np.full(slots, -1, np.int32)
        self.ids = np.full(slots, -1, np.int64)
        self.subjects = np.full(slots, -1, np.int32)
        self.versions = np.zeros(slots, np.int64)
        self.order = np.full(slots, -1, np.int64)
        self.fields = {n: np.zeros((slots, 0), f.dtype) for n, f in schema.fields.items()}
        self.widths = {n: np.zeros(slots, np.int32) for n in schema.fields}
        self.edits = np.zeros(1, np.int64)  # how often slots were changed from here; swaps do not count
        self._places = Places(self.classes, self.order)
        self._changing = False  # a change began; after it ended, only an exception in its middle leaves this

    @property
    def places(self) -> Places:
        """Where the occupied slots are; found anew after a change that did not come to its end."""
        if self._changing:
            self.edits += 1
            self._places = Places(self.classes, self.order)
            self._changing = False
        return self._places

    @property
    def filled(self) -> int:
        """Number of occupied slots."""
        return self.places.filled

    @property
    def bytes(self) -> int:
        """Bytes of all arrays at their present widths."""
        arrays = [self.samples, self.classes, self.ids, self.subjects, self.versions, self.order]
        return sum(a.nbytes for a in [*arrays, *self.fields.values(), *self.widths.values()])

    def class_histogram(self) -> dict[int, int]:
        """Occupied slots per class, classes ascending."""
        return {c: self.places.counts[c] for c in sorted(self.places.counts)}

    def draw(self, rng: np.random.Generator, k: int) -> np.ndarray:
        """min(k, filled) occupied slots, uniform without replacement, int64."""
        return self.places.draw(rng, k)

    def put(
        self, slot: int, sample: Any, cls: int, id: int = -1, fields: Values | None = None, subject: int = -1
    ) -> None:
        """Fills one slot. fields: name -> [w]."""
        rows = {n: np.asarray(v)[None] for n, v in (fields or {}).items()}
        self.put_many([slot], np.asarray(sample)[None], [cls], [id], rows, [subject])

    def put_many(
        self,
        slots: Any,
        samples: Any,
        classes: Any,
        ids: Any = None,
        fields: Values | None = None,
        subjects: Any = None,
    ) -> None:
        """Fills slots [n] with samples [n, *shape]; of two for one slot the later stays. fields: name ->
        [n, w], or
        (values [n, W], widths [n]) as `SampleStore.read` gives them."""
        where = ids_of(slots)
        if where.size and not 0 <= where.min() <= where.max() < self.slots:
            raise BadRecord(f"Slots go from {where.min()} to {where.max()}.", f"Use 0 to {self.slots - 1}.")
        rows = np.asarray(samples)
        if rows.shape[1:] != self.schema.sample_shape or rows.dtype != self.samples.dtype or len(rows) != len(where):
            raise BadRecord(
                f"{rows.dtype} samples {rows.shape} for {len(where)} slots of {self.samples.dtype} "
                f"{self.schema.sample_shape}.",
                "Give samples of the stream, one for each slot.",
            )
        labels = np.asarray(classes)
        if labels.size and labels.min() < 0:
            raise BadRecord("A sample without a class cannot enter the memory.", "Give classes >= 0.")
        labels = ints_of(labels, len(where), "classes", 0, 2**31 - 1) if labels.size else labels
        self._leave(where)  # empty until everything is there: an interrupt leaves no sample with another's label
        self.samples[where] = rows
        self.ids[where] = -1 if ids is None else ids
        self.subjects[where] = -1 if subjects is None else subjects
        self.order[where] = self.offered
        for name in self.fields:
            self.widths[name][where] = 0
            self.fields[name][where] = 0
            if fields and name in fields:
                self._set_field(where, name, fields[name])
        self._fill(where, labels)

    def _set_field(self, where: np.ndarray, name: str, value: Any) -> None:
        values, widths = value if isinstance(value, tuple) else (np.asarray(value), None)
        width = values.shape[1]
        if width > self.schema.fields[name].width:
            raise BadRecord(f"Field '{name}' of width {width}.", f"The stream has {self.schema.fields[name].width}.")
        self.grow_field(name, width)
        self.fields[name][where, :width] = values
        self.fields[name][where, width:] = 0
        self.widths[name][where] = width if widths is None else widths

    def update_field(self, slots: Any, name: str, values: Any) -> None:
        """Replaces a field [n, w] of occupied slots; a swap that is on its way to one of them still
        arrives.
        """
        if name not in self.fields:
            raise BadRecord(f"The stream has no field '{name}'.", f"It has: {', '.join(self.fields) or 'none'}.")
        self._set_field(np.asarray(slots, np.int64), name, np.asarray(values))

    def grow_field(self, name: str, width: int) -> None:
        """Makes room for values of ``width``; what is stored keeps its width."""
        old = self.fields[name]
        if width > old.shape[1]:
            new = np.zeros((self.slots, width), old.dtype)
            new[:, : old.shape[1]] = old
            self.generation += 1
            self.fields[name] = new

    def clear(self, slots: Any) -> None:
        """Empties slots."""
        where = np.atleast_1d(np.asarray(slots, np.int64))
        self._leave(where)
        self.samples[where] = 0
        self.ids[where] = -1
        self.subjects[where] = -1
        self.order[where] = -1
        for name in self.fields:
            self.fields[name][where] = 0
            self.widths[name][where] = 0
        self._changing = False

    def _leave(self, where: np.ndarray) -> None:
        """Begin to change slots: they are empty, and no swap on its way fits them."""
        places = self.places
        self._changing = True
        self.edits += 1
        places.leave(where)
        np.add.at(self.versions, where, 1)

    def _fill(self, where: np.ndarray, classes: np.ndarray) -> None:
        """End a change: the slots hold samples of ``classes``."""
        self.classes[where] = classes
        self._places.put(where)
        self._changing = False

    def relabel(self, ids: Any, classes: Any) -> int:
        """Gives slots that hold samples ``ids`` [n] (of the store) the classes [n], and empties those whose class is
        -1; how many slots. A swap on its way to one of them is dropped.
        """
        which, labels = ids_of(ids), np.asarray(classes, np.int32)
        order = np.argsort(which, kind="stable")
        which, labels = which[order], labels[order]
        slots = np.flatnonzero((self.classes >= 0) & np.isin(self.ids, which))
        if not len(slots):
            return 0
        new = labels[np.searchsorted(which, self.ids[slots])]
        self.clear(slots[new < 0])
        kept = slots[new >= 0]
        self._leave(kept)
        self._fill(kept, new[new >= 0])
        return len(slots)

    def remove(self, ids: Any) -> int:
        """Empties the slots that hold samples ``ids``; how many."""
        slots = np.flatnonzero((self.classes >= 0) & np.isin(self.ids, ids_of(ids)))
        self.clear(slots)
        return len(slots)

    def gather(self, slots: Any) -> dict[str, Any]:
        """Copies of slots: samples, classes, ids, subjects, fields {name: [n, W]}, widths {name: int32
        [n]}.
        """
        where = np.asarray(slots, np.int64)
        return {
            "samples": self.samples[where],
            "classes": self.classes[where],
            "ids": self.ids[where],
            "subjects": self.subjects[where],
            "fields": {n: a[where] for n, a in self.fields.items()},
            "widths": {n: a[where] for n, a in self.widths.items()},
        }

    def resize(self, slots: int, rng: np.random.Generator) -> None:
        """Another number of slots. When fewer, a uniform choice of the occupied ones stays, in slot order."""
        if slots < 1:
            raise BadRecord(f"A memory of {slots} slots.", "Use at least 1.")
        occupied = np.flatnonzero(self.classes >= 0)
        if len(occupied) > slots:
            occupied = np.sort(rng.choice(occupied, slots, replace=False))
        arrays = {}
        for name, array in self._arrays():
            new = np.zeros((slots, *array.shape[1:]), array.dtype)
            if name in ("classes", "ids", "subjects", "order"):
                new[:] = -1
            new[: len(occupied)] = array[occupied]
            arrays[name] = new
        arrays["versions"][:] = self.versions.max(initial=0) + 1  # no pending swap may match a moved slot
        self._replace(arrays, slots, self.offered)

    def _arrays(self) -> list[tuple[str, np.ndarray]]:
        plain = ("samples", "classes", "ids", "subjects", "versions", "order")
        out = [(n, getattr(self, n)) for n in plain]
        out += [(f"field.{n}", a) for n, a in self.fields.items()]
        return out + [(f"width.{n}", a) for n, a in self.widths.items()]

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays, for a checkpoint."""
        return {"offered": np.array(self.offered, np.int64), **{n: a.copy() for n, a in self._arrays()}}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes a `state` of a memory of the same stream; `BadRecord` when it does not fit."""
        slots = memory_state(state, self.schema, dict(self._arrays()))
        arrays = {n: np.array(state[n], order="C") for n, _ in self._arrays()}
        self._replace(arrays, slots, int(state["offered"]))

    def _replace(self, arrays: dict[str, np.ndarray], slots: int, offered: int) -> None:
        """All arrays by others, at one moment."""
        plain = {n: a for n, a in arrays.items() if "." not in n}
        self.generation += 1
        self.edits += 1
        self.__dict__.update(
            **plain,
            fields={n: arrays[f"field.{n}"] for n in self.fields},
            widths={n: arrays[f"width.{n}"] for n in self.widths},
            slots=slots,
            offered=offered,
            _places=Places(plain["classes"], plain["order"]),
            _changing=False,
        )
