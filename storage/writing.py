"""Appending samples: packed into the open segment, which ends with a footer once it is full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _storage
from .arguments import ints_of, rows_of, times_of, values_of
from .errors import BadRecord, ReplayMismatch
from .fieldfiles import FieldFiles
from .files import Writer, segment_name
from .index import Entry
from .layout import HEADER_BYTES, MAX_CLASS, SAMPLES, Header
from .recovery import Table, footer_of_table
from .ticket import Ticket


class Writing(FieldFiles):
    """Adds samples in order of arrival."""

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
                given = np.asarray(ids, np.int64).reshape(-1)
                skip = int((given < first).sum())
                if len(given) != n or (given[skip:] != first + np.arange(n - skip)).any():
                    raise BadRecord(
                        f"Ids {given[:4]}... do not continue at {first}.", "Give ids in order, without gaps."
                    )
            self._afford((n - skip) * self._stride)
            rows, labels, people, stamps = rows[skip:], labels[skip:], people[skip:], stamps[skip:]
            again = min(n - skip, max(0, self._index.physical_next - first))
            if again:
                self._replay(first, rows[:again], labels[:again])
            try:
                self._write(rows[again:], labels[again:], people[again:], stamps[again:])
                for name, v in values.items():
                    self._write_field(name, given[skip:], v[skip:])
            finally:
                position = self._flusher.appended()
        return Ticket(given, self._flusher, position)

    def _replay(self, first: int, rows: np.ndarray, labels: np.ndarray) -> None:
        """Samples that are on flash already come into view again, if they are the same."""
        ids = first + np.arange(len(rows), dtype=np.int64)
        got, classes, _, _, status = self._read_rows(ids, hidden=True)
        differ = (status == 0) & ((classes != labels) | (got != rows).any(axis=1))
        if differ.any():
            at = int(ids[np.flatnonzero(differ)[0]])
            raise ReplayMismatch(
                f"Sample {at} is not the one that was stored under this id.",
                "Resume with the same stream and order.",
            )
        self._index.advance(labels)

    def _write(self, rows: np.ndarray, labels: np.ndarray, people: np.ndarray, stamps: np.ndarray) -> None:
        at = 0
        while at < len(rows):
            assert self._tail is not None
            room = (self._segment_bytes - self._tail.end) // self._stride
            if room < 1:
                self._seal()
                continue
            k = min(room, len(rows) - at, max(1, (1 << 20) // self._stride))
            part = slice(at, at + k)
            first = self._tail.header.first_id
            rel = (self._index.physical_next - first + np.arange(k)).astype(np.uint32)
            self._cleaner.make_room(k * self._stride)
            packed = np.empty(k * self._stride, np.uint8)
            _storage.pack_samples(
                packed, rows[part], rel, labels[part], people[part], stamps[part], self._tail.header.crc
            )
            self._tail.append(packed)
            self._files[self._tail.path.name] = self._tail.end
            self.wear.add(len(packed))
            self._payload_written += k * self.schema.sample_bytes
            ok = np.ones(k, np.uint8)
            self._tail_tables.append(Table(ok, rel, labels[part].copy(), people[part].copy()))
            self._index.add_records(self._tail.no, ok, rel, labels[part], people[part])
            self._index.advance(labels[part])
            at += k

    def _tail_table(self) -> Table:
        if not self._tail_tables:
            return Table(np.zeros(0, np.uint8), np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32))
        if len(self._tail_tables) > 1:
            self._tail_tables = [
                Table(
                    *(
                        np.concatenate([getattr(t, f) for t in self._tail_tables])
                        for f in ("ok", "rel", "classes", "subjects")
                    )
                )
            ]
        return self._tail_tables[0]

    def _seal(self) -> None:
        """Ends the open segment with its footer, begins the next, and moves the commit point."""
        assert self._tail is not None and self._flusher is not None
        old, table = self._tail, self._tail_table()
        with self._flusher.lock:
            end = old.end
            footer = footer_of_table(table, False).pack(old.header.crc)
            old.append(footer)
            old.sync()
            self._new_tail(self._index.physical_next)
            old.close()
        self.wear.add(len(footer) + HEADER_BYTES)
        self._files[old.path.name] = end + len(footer)
        entry = Entry(old.header.first_id, len(table), end, old.header.crc)
        self._entries[old.no] = entry
        self._commit(put={old.no: entry})
        self._cleaner.after_seal()

    def _new_tail(self, first_id: int) -> None:
        self._last_no += 1
        head = Header(SAMPLES, self._last_no, first_id, self.schema.sample_bytes, 0, self._description.store)
        self._tail = Writer(self._directory, segment_name(head.no), head)
        self._tail_tables = []
        self._files[segment_name(head.no)] = self._tail.end
        self._index.add_segment(head.no, first_id, head.crc, np.zeros(0, np.uint32), False, [])
