"""Appending samples: packed into the open segment, which ends with a footer once it is full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _storage
from .arguments import ids_of, ints_of, rows_of, times_of, values_of
from .codecs import round_trip
from .errors import BadRecord, ReplayMismatch, StoreError, StoreFull
from .fieldfiles import FieldFiles
from .files import Writer, segment_name, settling, typed
from .index import Entry
from .layout import HEADER_BYTES, MAX_CLASS, SAMPLES, Footer, Header
from .recovery import Table, added, footer_of_table
from .sets import distinct
from .ticket import Ticket

_ENCODE_BYTES = 1 << 18  # samples encoded at a time
_SEGMENTS_PER_COMMIT = 8  # an opening after a crash reads the footers of as many


class Writing(FieldFiles):
    """Adds samples in order of arrival."""

    @typed
    def append(
        self,
        samples: Any,
        classes: Any,
        subjects: Any = None,
        times: Any = None,
        fields: Mapping[str, Any] | None = None,
        ids: Any = None,
    ) -> Ticket:
        """Adds samples [N, *shape] (or one, [*shape]) of the stream's dtype.

        classes, subjects: int or [N], -1 for none. times: seconds (float, kept in ms), default now. fields:
        name -> [N, width]. ids [N]: for a source that may send twice; one below `next_id` changes nothing,
        the next must be `next_id`. Raises `BadRecord`, `ReplayMismatch`, `StoreFull`,
        `StoreDamaged`, `WriteBudgetSpent` (nothing of the call is stored then).
        """
        self._check(write=True)
        assert self._flusher is not None
        rows = rows_of(self.schema, samples)
        n = len(rows)
        labels = ints_of(classes, n, "classes", -1, MAX_CLASS)
        people = ints_of(-1 if subjects is None else subjects, n, "subjects", -1, 2**31 - 1)
        stamps = times_of(times, n)
        values = {name: values_of(self.schema, name, v, n) for name, v in (fields or {}).items()}
        with self._lock:
            first = self._index.next_id
            given = first + np.arange(n, dtype=np.int64)
            skip = 0
            if ids is not None:
                given = ids_of(ids)
                skip = int((given < first).sum())
                if len(given) != n or (given[skip:] != first + np.arange(n - skip)).any():
                    raise BadRecord(
                        f"Ids {given[:4]}... do not continue at {first}.", "Give ids in order, without gaps."
                    )
            rows, labels, people, stamps = rows[skip:], labels[skip:], people[skip:], stamps[skip:]
            again = min(n - skip, max(0, self._index.physical_next - first))
            self._afford((n - skip - again) * self._stride)
            if again:
                self._replay(first, rows[:again], labels[:again])
            if self._unended and self._sealing and (waiting := self._unended.intersection(people.tolist())):
                raise StoreError(
                    f"Forgetting subject {min(waiting)} was begun and could not be ended.",
                    "Forget it again once the device reads and has room.",
                )
            with settling(self, appending=True):
                if self._sealing is not None:
                    with settling(self):
                        self._sealing.keys.need(distinct(people))
                try:
                    self._write(rows[again:], labels[again:], people[again:], stamps[again:])
                    for name, v in values.items():
                        self._write_field(name, given[skip:], v[skip:], people)
                finally:
                    position = self._flusher.appended()
        return Ticket(given, self._flusher, position)

    def _replay(self, first: int, rows: np.ndarray, labels: np.ndarray) -> None:
        """Samples that are on flash already come into view again, if they are the same."""
        ids = first + np.arange(len(rows), dtype=np.int64)
        got, classes, _, _, status = self._read_rows(ids, hidden=True)
        kept = round_trip(self._codec if self._sealing is None else self._sealing.inner, self.schema, rows)
        differ = (status == 0) & ((classes != labels) | (got != kept).any(axis=1))
        if differ.any():
            at = int(ids[np.flatnonzero(differ)[0]])
            raise ReplayMismatch(
                f"Sample {at} is not the one that was stored under this id.",
                "Resume with the same stream and order.",
            )
        self._index.advance(labels)

    def _write(self, rows: np.ndarray, labels: np.ndarray, people: np.ndarray, stamps: np.ndarray) -> None:
        if self._codec.variable:
            step = max(1, _ENCODE_BYTES // self.schema.sample_bytes)
            for at in range(0, len(rows), step):
                part = slice(at, at + step)
                self._write_variable(rows[part], labels[part], people[part], stamps[part])
            return
        at = 0
        while at < len(rows):
            assert self._tail is not None
            room = (self._segment_bytes - self._tail.end) // self._stride
            if room < 1:
                self._seal()
                continue
            k = min(room, len(rows) - at, max(1, (1 << 20) // self._stride))
            part = slice(at, at + k)
            self._cleaner.make_room(k * self._stride)
            rel = self._next_rel(k)
            stored = np.ascontiguousarray(self._codec.encode_fixed(rows[part]))
            end, error, offsets = _storage.append_fixed(
                self._tail.fd, self._tail.end, stored, self._codec.code, rel, labels[part], people[part], stamps[part],
                self._tail.header.crc,
            )  # fmt: skip
            self._appended(end, error, rel, labels[part], people[part], offsets)
            at += k

    def _write_variable(self, rows: np.ndarray, labels: np.ndarray, people: np.ndarray, stamps: np.ndarray) -> None:
        if self._sealing is None:
            encoded, codes = self._codec.encode_variable(rows)
        else:
            encoded, codes = self._sealing.encode(rows, people)
        lengths = np.array([len(e) for e in encoded], np.uint32)
        strides = (_storage.RECORD_HEAD + lengths.astype(np.int64) + 7) // 8 * 8
        at = 0
        while at < len(rows):
            assert self._tail is not None
            fit = int(np.searchsorted(np.cumsum(strides[at:]), self._segment_bytes - self._tail.end, side="right"))
            if fit < 1:
                self._seal()
                continue
            part = slice(at, at + fit)
            self._cleaner.make_room(int(strides[part].sum()))
            rel = self._next_rel(fit)
            end, error, offsets = _storage.append_variable(
                self._tail.fd, self._tail.end, b"".join(encoded[part]), lengths[part], codes[part], rel, labels[part],
                people[part], stamps[part], self._tail.header.crc,
            )  # fmt: skip
            self._appended(end, error, rel, labels[part], people[part], offsets)
            at += fit

    def _next_rel(self, n: int) -> np.ndarray:
        """Ids of the next n records, relative to the open segment's first."""
        assert self._tail is not None
        return (self._index.physical_next - self._tail.header.first_id + np.arange(n)).astype(np.uint32)

    def _appended(
        self, end: int, error: int, rel: np.ndarray, labels: np.ndarray, people: np.ndarray, offsets: np.ndarray
    ) -> None:
        """Records stand in the open segment: brings them into the index and into view."""
        assert self._tail is not None
        tail, k = self._tail, len(rel)
        size = end - tail.end
        tail.appended(end, error)
        self._files[tail.path.name] = end
        self.wear.add(size)
        self._payload_written += k * self.schema.sample_bytes
        ok = np.ones(k, np.uint8)
        self._tail_tables = added(self._tail_tables, Table(ok, rel, labels.copy(), people.copy(), offsets))
        self._index.add_records(tail.no, ok, rel, labels, people, offsets)
        self._index.advance(labels)

    def _seal(self) -> None:
        """Ends the open segment with its footer and begins the next; every few segments the commit point moves.

        What stands before the footer is on flash before the next segment takes a record, so that after a
        power cut no record is missing before one that is there. On a full device nothing is changed.
        """
        assert self._tail is not None and self._flusher is not None
        old, table = self._tail, Table.join(self._tail_tables)
        footer = footer_of_table(table, False, self._codec.variable).pack(old.header.crc)
        with settling(self), self._flusher.lock:
            try:
                size = old.write_behind(footer)
                old.dirty = True
                old.sync()
                new = self._make_tail(self._index.physical_next)
            except StoreFull as error:
                old.cut()
                error.unchanged = True
                raise
            end = old.end
            self._tail, self._tail_tables = new, []
            self._files[new.path.name] = new.end
            self._index.add_segment(new.no, new.header.first_id, new.header.crc, np.zeros(0, np.uint32), False, [])
            old.close(size)
        if self._codec.variable:
            self._index.seal_segment(old.no, end, Footer.offsets_at(size, len(table)))
        self.wear.add(len(footer) + HEADER_BYTES)
        self._files[old.path.name] = size
        entry = Entry(old.header.first_id, len(table), end, old.header.crc)
        self._entries[old.no] = self._pending[old.no] = entry
        self._fit_capacity()
        if len(self._pending) >= _SEGMENTS_PER_COMMIT:
            with settling(self):
                self._commit()
                self._cleaner.tidy()

    def _make_tail(self, first_id: int) -> Writer:
        """An empty segment, which is not in use yet."""
        self._last_no += 1
        payload = self._description.payload
        head = Header(SAMPLES, self._last_no, first_id, payload, 0, self._description.store)
        return Writer(self._directory, segment_name(head.no), head, room=self._segment_bytes)

    def _new_tail(self, first_id: int) -> None:
        new = self._make_tail(first_id)
        self._tail, self._tail_tables = new, []
        self._files[new.path.name] = new.end
        self._index.add_segment(new.no, first_id, new.header.crc, np.zeros(0, np.uint32), False, [])

    def _fit_capacity(self) -> None:
        """With records of varying length a byte limit holds as many samples as their mean length so far allows."""
        if self._usable is None or not self._codec.variable or not self._entries:
            return
        size = sum(e.end - HEADER_BYTES for e in self._entries.values())
        count = sum(e.count for e in self._entries.values())
        fields = sum(_storage.field_stride(f.bytes) for f in self.schema.fields.values())
        self.capacity = min(self._most, max(16, int(self._usable * 0.85 / (size / count + 10 + fields))))
        self._index.set_capacity(self.capacity)
