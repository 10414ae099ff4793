"""The sample store: every sample the device has seen, on flash, readable at random in constant time.

Promises. A sample whose ticket's `wait` returned True survives SIGKILL and power loss. A record whose
checksum is wrong is never served; it is listed by `verify`. Ids are dense and given in order of arrival.
What is evicted depends on the sequence of appended samples alone, and its space is really returned.
Caveats. One process writes (others may read). With ``batched:MS`` up to MS milliseconds of samples are lost
when the power goes (not when the process dies). Records are at rest in the clear.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _storage
from .cleaning import Cleaner
from .errors import (
    BadRecord,
    ReadOnly,
    ReplayMismatch,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreFull,
    UseAfterFork,
    WrongStream,
)
from .files import Lock, Writer, field_name, io_error, segment_name
from .index import Commit, Entry, IndexFile
from .layout import FIELDS, HEADER_BYTES, MAX_CLASS, SAMPLES, Description, Header, sync_directory
from .recovery import Table, footer_of_table, survey, survey_fields
from .schema import StreamSchema
from .ticket import Flusher, Ticket, parse_durability

FILE_BYTES = 8 << 20
_MAX_TIME = 1 << 46  # milliseconds
Batch = dict[str, Any]


@dataclass(frozen=True)
class DamagedRecord:
    """One damaged place: the id it belonged to (None for a field record), file, byte offset and reason."""

    id: int | None
    file: str
    offset: int
    reason: str


class SampleStore:
    """Samples of one stream in a directory.

    path: the directory; made if it does not exist. schema: shape and dtype of a sample and its fields; None
    takes the one on flash. durability: ``durable`` or ``batched:MS``. limit_bytes, limit_samples: capacity;
    above it the oldest sample of the largest class is evicted. read_only: a reader beside the owner, as of
    the moment of opening. Raises `StoreLocked`, `WrongStream`, `StoreDamaged`, `ReadOnly`, `StoreError`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: StreamSchema | None = None,
        *,
        durability: str = "batched:1000",
        limit_bytes: int | None = None,
        limit_samples: int | None = None,
        read_only: bool = False,
    ) -> None:
        parse_durability(durability)
        self.path = Path(path)
        self.read_only = read_only
        self.durability = durability
        self.limit_bytes = limit_bytes
        self._pid = os.getpid()
        self._closed = True
        self._lock = threading.RLock()
        self._lockfile: Lock | None = None
        self._flusher: Flusher | None = None
        self._directory = self.path / "segments"
        description = self._prepare(schema, limit_bytes)
        self.schema = description.schema
        self._description = description
        self._names = list(self.schema.fields)
        self._stride = _storage.RECORD_HEAD + self.schema.sample_bytes
        self._segment_bytes = self._segment_size(limit_bytes)
        self.capacity = self._capacity(limit_bytes, limit_samples)
        try:
            self._open(durability)
        except BaseException:
            self._release()
            raise
        self._closed = False

    # ------------------------------------------------------------------ opening
    def _prepare(self, schema: StreamSchema | None, limit_bytes: int | None) -> Description:
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"'{self.path}' is a file, not a directory.", "Give the store a directory of its own.")
        if self.read_only:
            description = Description.read(self.path)
            if description is None:
                raise StoreError(f"There is no store in '{self.path}'.", "Check the path.")
        else:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise io_error(error, f"Cannot make the store '{self.path}'") from error
            self._lockfile = Lock(self.path)
            try:
                description = Description.read(self.path)
                if description is None:
                    if schema is None:
                        raise StoreError(f"There is no store in '{self.path}'.", "Give a schema to make one.")
                    size = FILE_BYTES if limit_bytes is None else min(FILE_BYTES, max(1 << 16, limit_bytes // 32))
                    description = Description(secrets.token_bytes(16), schema, size // 8 * 8)
                    description.write(self.path)
            except OSError as error:
                self._release()
                raise io_error(error, f"Cannot make the store '{self.path}'") from error
            except StoreError:
                self._release()
                raise
        if schema is not None and (what := description.schema.difference(schema)):
            self._release()
            raise WrongStream(
                f"The store '{self.path}' belongs to another stream: {what}.",
                "Use another directory for this stream.",
            )
        return description

    def _segment_size(self, limit_bytes: int | None) -> int:
        size = self._description.file_bytes
        if limit_bytes is not None:
            size = min(size, max(1 << 16, limit_bytes // 32))
        return max(size, HEADER_BYTES + 8 * self._stride)

    def _capacity(self, limit_bytes: int | None, limit_samples: int | None) -> int:
        capacity = 1 << 62
        if limit_samples is not None:
            if limit_samples < 1:
                raise self._refuse(f"limit_samples is {limit_samples}.", "Use at least 1.")
            capacity = limit_samples
        if limit_bytes is not None:
            # Room for the open segment, one being compacted, the index, and dead records waiting to be
            # cleaned.
            each = self._stride + 6 + sum(_storage.field_stride(f.bytes) for f in self.schema.fields.values())
            fields = len(self.schema.fields) * self._description.file_bytes
            usable = limit_bytes - 3 * self._segment_bytes - fields - (1 << 16)
            by_bytes = int(usable * 0.85) // each
            if by_bytes < 16:
                least = 3 * self._segment_bytes + fields + (1 << 16) + 20 * each
                raise self._refuse(f"A store of {limit_bytes} bytes is too small.", f"Give it at least {least} bytes.")
            capacity = min(capacity, by_bytes)
        return capacity

    def _refuse(self, cause: str, remedy: str) -> BadRecord:
        self._release()
        return BadRecord(cause, remedy)

    def _open(self, durability: str) -> None:
        self.rebuilt = False
        if self.read_only and not (self.path / "index").exists():
            raise StoreDamaged(f"The index of '{self.path}' is missing.", "Open it once for writing to rebuild it.")
        try:
            self._db = IndexFile(self.path, self.read_only)
            commit, entries = self._db.load()
        except StoreDamaged:
            if self.read_only:
                raise
            commit, entries = self._rebuild_index()
        if self._db.damaged and not self.read_only:
            self._db.close()
            commit, entries = self._rebuild_index()
        if commit is None and not self.read_only:
            self.rebuilt = any(n.endswith(".seg") for n in os.listdir(self._directory))
        self._entries = entries
        self._files: dict[str, int] = {}
        self._damaged: dict[int, DamagedRecord] = {}
        self._widest = dict.fromkeys(self._names, 0)
        self._index = _storage.Index(
            str(self._directory),
            self.schema.sample_bytes,
            len(self._names),
            self._description.file_bytes,
            self.capacity,
        )
        self._pins: deque[tuple[np.ndarray, np.ndarray]] = deque()
        known = commit or Commit()
        self._index.pinned = known.pinned
        self._bytes_written = known.bytes_written
        self._payload_written = known.payload_written
        self._field_epoch = known.field_epoch
        found = survey(self._directory, self._description, commit, entries)
        physical = known.physical_next
        for item in found.segments:
            head, table = item.header, item.table
            rel = table.rel if head.compacted else np.zeros(0, np.uint32)
            self._index.add_segment(head.no, head.first_id, head.crc, rel, head.compacted, [])
            self._index.add_records(head.no, table.ok, table.rel, table.classes, table.subjects)
            self._files[segment_name(head.no)] = item.size
            if len(table):
                physical = max(physical, head.first_id + int(table.rel[-1]) + 1)
        for id_ in found.damaged:
            self._note_damage(id_, "checksum")
        self._tail: Writer | None = None
        self._tail_tables: list[Table] = []
        open_one = found.segments[-1] if found.segments and not found.segments[-1].full else None
        self._index.set_view(known.next_id, known.view_classes, known.view_first)
        self._catch_up(found.segments, known.next_id, physical)
        if not self.read_only:
            self._adopt(found, open_one, physical, commit)
        self._open_fields()
        if not self.read_only:
            self._flusher = Flusher(durability, self._dirty_files)
            self._cleaner = Cleaner(self)
            self._commit(put=found.new_entries, drop=[n for n in found.lost_entries if n in entries])
            self._entries.update(found.new_entries)
            for path in found.orphans:
                path.unlink(missing_ok=True)

    def _rebuild_index(self) -> tuple[None, dict[int, Entry]]:
        """Puts a damaged index aside; the segments are the truth."""
        aside = self.path / "index.damaged"
        if aside.exists():
            for file in aside.iterdir():
                file.unlink()
            aside.rmdir()
        if (self.path / "index").exists():
            os.rename(self.path / "index", aside)
        self._db = IndexFile(self.path, False)
        return None, {}

    def _catch_up(self, segments: Sequence[Any], next_id: int, physical: int) -> None:
        """Brings the samples behind the commit point into view, in order."""
        if physical <= next_id:
            return
        classes = np.full(physical - next_id, -2, np.int32)  # -2: the id is on no segment
        for item in segments:
            ids = item.header.first_id + item.table.rel.astype(np.int64)
            mask = ids >= next_id
            classes[ids[mask] - next_id] = item.table.classes[mask]
        self._index.advance(classes)

    def _adopt(self, found: Any, open_one: Any, physical: int, commit: Commit | None) -> None:
        """Makes the last segment ready for appending, or begins a new one."""
        numbers = [int(n[:8], 16) for n in os.listdir(self._directory) if n.endswith(".seg")]
        self._last_no = max([*numbers, commit.tail_no if commit else 0], default=0)
        if open_one is not None:
            head = open_one.header
            self._tail = Writer(self._directory, segment_name(head.no), head, open_one.end)
            if Header.read(self._tail.fd) != head:
                os.pwrite(self._tail.fd, head.packed, 0)  # its header was damaged
            self._tail.dirty = True
            self._tail_tables = [open_one.table]
            self._files[segment_name(head.no)] = open_one.end
        else:
            self._new_tail(physical)

    def _new_tail(self, first_id: int) -> None:
        self._last_no += 1
        head = Header(SAMPLES, self._last_no, first_id, self.schema.sample_bytes, 0, self._description.store)
        self._tail = Writer(self._directory, segment_name(head.no), head)
        self._tail_tables = []
        self._files[segment_name(head.no)] = self._tail.end
        self._index.add_segment(head.no, first_id, head.crc, np.zeros(0, np.uint32), False, [])

    def _open_fields(self) -> None:
        self._field: Writer | None = None
        self._damaged_field_bytes = 0
        last = None
        for item in survey_fields(self._directory, self._description):
            self._index.add_field_file(item.header.no, item.header.crc)
            self._index_fields(item, item.end)
            self._files[field_name(item.header.no)] = item.end
            self._damaged_field_bytes += item.damaged_bytes
            last = item
        if last is not None and not self.read_only:
            self._field = Writer(self._directory, field_name(last.header.no), last.header, last.end)
            self._field.dirty = True

    def _index_fields(self, item: Any, end: int) -> None:
        keep = item.offset < end
        n = int(keep.sum())
        if n:
            no = np.full(n, item.header.no, np.uint32)
            self._index.set_fields(item.field[keep], item.ids[keep], no, item.offset[keep])
        for f, name in enumerate(self._names):
            lengths = item.length[keep & (item.field == f)]
            if len(lengths):
                itemsize = np.dtype(self.schema.fields[name].dtype).itemsize
                self._widest[name] = max(self._widest[name], int(lengths.max()) // itemsize)

    # ------------------------------------------------------------------ guards
    def _check(self, write: bool = False) -> None:
        if os.getpid() != self._pid:
            raise UseAfterFork(
                f"The store '{self.path}' was opened in process {self._pid} and used in a fork of it.",
                "Open it in the process that uses it.",
            )
        if self._closed:
            raise StoreClosed(f"The store '{self.path}' is closed.", "Open it again.")
        if write:
            if self.read_only:
                raise ReadOnly(f"The store '{self.path}' was opened with read_only=True.", "Open it for writing.")
            assert self._flusher is not None
            self._flusher.check()

    # ------------------------------------------------------------------ writing
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
        the next must be `next_id`. Raises `BadRecord`, `ReplayMismatch`, `StoreFull`, `StoreDamaged`.
        """
        self._check(write=True)
        assert self._flusher is not None
        rows = self._rows(samples)
        n = len(rows)
        labels = self._ints(classes, n, "classes", -1, MAX_CLASS)
        people = self._ints(-1 if subjects is None else subjects, n, "subjects", -1, 2**31 - 1)
        stamps = self._times(times, n)
        values = {name: self._values(name, v, n) for name, v in (fields or {}).items()}
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

    def _rows(self, samples: Any) -> np.ndarray:
        array = np.asarray(samples)
        shape = self.schema.sample_shape
        if array.shape == shape:
            array = array[None]
        if array.shape[1:] != shape or array.ndim != len(shape) + 1:
            raise BadRecord(f"Samples have shape {array.shape}, the stream has {shape}.", "Give [N, *shape].")
        if array.dtype != np.dtype(self.schema.sample_dtype):
            raise BadRecord(f"Samples are {array.dtype}, the stream is {self.schema.sample_dtype}.", "Convert them.")
        return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)

    def _ints(self, values: Any, n: int, what: str, low: int, high: int) -> np.ndarray:
        array = np.asarray(values)
        if array.dtype.kind not in "iu":
            raise BadRecord(f"{what.capitalize()} are {array.dtype}.", "Give integers.")
        if array.ndim > 1 or (array.ndim == 1 and len(array) != n):
            raise BadRecord(f"{array.size} {what} for {n} samples.", "Give one each.")
        if array.size and (int(array.min()) < low or int(array.max()) > high):
            raise BadRecord(f"{what.capitalize()} go from {array.min()} to {array.max()}.", f"Use {low} to {high}.")
        return np.ascontiguousarray(np.broadcast_to(array, (n,)), np.int32)

    def _times(self, times: Any, n: int) -> np.ndarray:
        array = np.asarray(time.time() if times is None else times, np.float64)
        if array.ndim > 1 or (array.ndim == 1 and len(array) != n):
            raise BadRecord(f"{array.size} times for {n} samples.", "Give one each.")
        if not np.isfinite(array).all() or (np.abs(array) * 1000 >= _MAX_TIME).any():
            raise BadRecord("A time is not finite or too large.", "Give seconds since the epoch.")
        return np.ascontiguousarray(np.broadcast_to(np.rint(array * 1000), (n,)), np.int64)

    def _values(self, name: str, values: Any, n: int) -> np.ndarray:
        if name not in self.schema.fields:
            raise BadRecord(f"The stream has no field '{name}'.", f"It has: {', '.join(self._names) or 'none'}.")
        spec = self.schema.fields[name]
        array = np.ascontiguousarray(values, np.dtype(spec.dtype))
        if array.ndim != 2 or len(array) != n or not 1 <= array.shape[1] <= spec.width:
            raise BadRecord(f"Field '{name}' has shape {array.shape}.", f"Give [{n}, 1 to {spec.width}].")
        return array

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
            self._bytes_written += len(packed)
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
        self._bytes_written += len(footer) + HEADER_BYTES
        self._files[old.path.name] = end + len(footer)
        entry = Entry(old.header.first_id, len(table), end, old.header.crc)
        self._entries[old.no] = entry
        self._commit(put={old.no: entry})
        self._cleaner.after_seal()

    def update_field(self, name: str, ids: Any, values: Any) -> Ticket:
        """Stores [N, width] values of a field beside the samples ``ids``; later ones win."""
        self._check(write=True)
        assert self._flusher is not None
        which = np.ascontiguousarray(ids, np.int64).reshape(-1)
        array = self._values(name, values, len(which))
        if len(which) and (which.min() < 0 or which.max() >= self._index.next_id):
            raise BadRecord(f"Ids {which.min()} to {which.max()}: there is no such sample.", "Append it first.")
        with self._lock:
            try:
                self._write_field(name, which, array)
            finally:
                position = self._flusher.appended()
        return Ticket(which, self._flusher, position)

    def _write_field(self, name: str, ids: np.ndarray, values: np.ndarray) -> None:
        number, spec = self._names.index(name), self.schema.fields[name]
        raw = values.view(np.uint8).reshape(len(values), -1)
        stride = _storage.field_stride(raw.shape[1])
        at = 0
        while at < len(ids):
            room = 0 if self._field is None else (self._description.file_bytes - self._field.end) // stride
            if room < 1:
                self._next_field_file()
                continue
            assert self._field is not None
            k = min(room, len(ids) - at)
            self._cleaner.make_room(k * stride)
            packed = np.empty(k * stride, np.uint8)
            part = np.ascontiguousarray(ids[at : at + k])
            _storage.pack_fields(packed, raw[at : at + k], number, spec.version, part, self._field.header.crc)
            start = self._field.append(packed)
            self._files[self._field.path.name] = self._field.end
            self._bytes_written += len(packed)
            offsets = (start + stride * np.arange(k)).astype(np.uint32)
            no = np.full(k, self._field.no, np.uint32)
            self._index.set_fields(np.full(k, number, np.uint8), part, no, offsets)
            at += k
        if len(ids):
            self._widest[name] = max(self._widest[name], values.shape[1])

    def _next_field_file(self) -> None:
        assert self._flusher is not None
        with self._flusher.lock:
            old = self._field
            head = Header(FIELDS, old.no + 1 if old else 1, 0, 0, 0, self._description.store)
            if old is not None:
                old.sync()
            self._field = Writer(self._directory, field_name(head.no), head)
            if old is not None:
                old.close()
        self._files[self._field.path.name] = self._field.end
        self._bytes_written += HEADER_BYTES
        self._index.add_field_file(head.no, head.crc)
        self._cleaner.after_field_file()

    def _dirty_files(self) -> list[Any]:
        return [f for f in (self._tail, self._field) if f is not None and f.dirty]

    def _commit(
        self,
        put: Mapping[int, Entry] | None = None,
        drop: Iterable[int] = (),
        meta: Mapping[str, bytes] | None = None,
    ) -> None:
        assert self._tail is not None and self._flusher is not None
        with self._flusher.lock:
            self._tail.sync()  # a commit point vouches only for what is on flash
        classes, first = self._index.get_view()
        commit = Commit(
            self._index.next_id,
            max(self._index.physical_next, self._tail.header.first_id),
            self._tail.header.first_id,
            self._tail.no,
            self._tail.end,
            self._field.no if self._field else 0,
            self._field.end if self._field else 0,
            self._bytes_written,
            self._payload_written,
            self._field_epoch,
            self._index.pinned,
            classes,
            first,
        )
        self._bytes_written += self._db.commit(commit, put, drop, meta)

    def flush(self) -> None:
        """Returns when everything appended is on flash."""
        self._check(write=True)
        assert self._flusher is not None
        self._flusher.flush()

    # ------------------------------------------------------------------ reading
    def _read_rows(self, ids: np.ndarray, hidden: bool) -> tuple[np.ndarray, ...]:
        n = len(ids)
        rows = np.empty((n, self.schema.sample_bytes), np.uint8)
        classes, subjects = np.empty(n, np.int32), np.empty(n, np.int32)
        times, status = np.empty(n, np.int64), np.empty(n, np.uint8)
        self._index.read(ids, rows, classes, subjects, times, status, hidden)
        return rows, classes, subjects, times, status

    def read(self, ids: Any, fields: Iterable[str] | None = None) -> Batch:
        """The samples ``ids`` as one batch.

        samples [N, *shape], classes int32, ids int64, subjects int32, times float64 (s), ok bool [N];
        fields: name -> (values [N, widest], widths int32 [N]), width 0 where nothing is stored; ``fields``
        names the wanted ones (default all). A row that is damaged, evicted or unknown is zeros with ok
        False and class -1.
        """
        self._check()
        which = np.ascontiguousarray(ids, np.int64).reshape(-1)
        rows, classes, subjects, times, status = self._read_rows(which, hidden=False)
        if status.any():
            for i in np.flatnonzero(status == 2):
                self._found_damaged(int(which[i]))
        samples = rows.view(self.schema.sample_dtype).reshape(len(which), *self.schema.sample_shape)
        batch: Batch = {
            "samples": samples,
            "classes": classes,
            "ids": which,
            "subjects": subjects,
            "times": times / 1000.0,
            "ok": status == 0,
            "fields": {},
        }
        for name in self._names if fields is None else fields:
            batch["fields"][name] = self._read_field(name, which, status)
        return batch

    def _read_field(self, name: str, ids: np.ndarray, status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if name not in self.schema.fields:
            raise BadRecord(f"The stream has no field '{name}'.", f"It has: {', '.join(self._names) or 'none'}.")
        dtype = np.dtype(self.schema.fields[name].dtype)
        width = self._widest[name]
        raw = np.empty((len(ids), width * dtype.itemsize), np.uint8)
        got = np.empty(len(ids), np.uint32)
        self._index.read_field(self._names.index(name), ids, raw, got)
        values, widths = raw.view(dtype), (got // dtype.itemsize).astype(np.int32)
        values[status != 0] = 0
        widths[status != 0] = 0
        return values.reshape(len(ids), width), widths

    def field_width(self, name: str) -> int:
        """The widest value of a field stored so far, in elements."""
        return self._widest[name]

    @property
    def next_id(self) -> int:
        """The id the next new sample gets."""
        return self._index.next_id

    @property
    def count(self) -> int:
        """Number of live samples."""
        return self._index.count

    def classes(self) -> list[int]:
        """Classes with live samples, ascending."""
        return self._index.classes()

    def count_of(self, cls: int) -> int:
        """Number of live samples of a class."""
        return self._index.count_of(cls)

    def ids_of_class(self, cls: int) -> np.ndarray:
        """Live ids of a class, ascending, int64."""
        return self._index.ids_of_class(cls)

    def kth(self, cls: int, k: int) -> int:
        """The k-th (from 0, oldest first) live id of a class, in constant time; -1 beyond."""
        return self._index.kth(cls, k)

    def subjects(self) -> list[int]:
        """Subjects that ever had a sample here."""
        return self._index.subjects()

    def ids_of_subject(self, subject: int) -> np.ndarray:
        """Live ids of a subject, ascending, int64."""
        return self._index.ids_of_subject(subject)

    # ------------------------------------------------------------------ small values
    def meta_get(self, key: str) -> bytes | None:
        """A value set with `meta_set`."""
        self._check()
        return self._db.meta(key)

    def meta_set(self, values: Mapping[str, bytes]) -> None:
        """Sets small values in one transaction; on flash when it returns."""
        self._check(write=True)
        with self._lock:
            self._commit(meta=values)

    # ------------------------------------------------------------------ checkpoints
    def state(self) -> dict[str, Any]:
        """The view as of now, for a checkpoint; everything in it is on flash when this returns.

        From the first call on, evicted samples stay on flash until the second next call, so that a run
        resumed from either of the two newest checkpoints sees what the first one saw.
        """
        self._check(write=True)
        assert self._flusher is not None
        with self._lock:
            self._cleaner.compact_fields()
            self._flusher.flush()
            self._index.pinned = True
            classes, first = self._index.get_view()
            self._pins.append((classes, first))
            if len(self._pins) > 2:
                self._pins.popleft()
            if len(self._pins) == 2:
                self._index.release(*self._pins[0])
            self._commit()
            return {
                "next_id": self._index.next_id,
                "count": self._index.count,
                "classes": classes,
                "first_live": first,
                "field_no": self._field.no if self._field else 0,
                "field_end": self._field.end if self._field else 0,
                "field_epoch": self._field_epoch,
            }

    def load(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Rewinds the view to a checkpoint. Later samples stay on flash, hidden; appending them again shows
        them.

        Returns {"missing": evicted samples of that moment whose space is already returned, "fields_exact":
        whether the fields are those of that moment}; a resumed run is bit-exact when these are 0 and True.
        Only for a run that repeats its stream: samples that differ from the hidden ones raise
        `ReplayMismatch`.
        """
        self._check(write=True)
        assert self._flusher is not None
        with self._lock:
            if self._index.physical_next < int(state["next_id"]):
                raise StoreDamaged(
                    f"The checkpoint has {state['next_id']} samples, there are {self._index.physical_next}.",
                    "Use the store that belongs to the checkpoint, or an earlier checkpoint.",
                )
            self._flusher.flush()
            self._index.pinned = True
            classes = np.ascontiguousarray(state["classes"], np.int32)
            first = np.ascontiguousarray(state["first_live"], np.int64)
            self._index.set_view(int(state["next_id"]), classes, first)
            exact = int(state["field_epoch"]) == self._field_epoch
            if exact:
                self._rewind_fields(int(state["field_no"]), int(state["field_end"]))
            self._pins.clear()
            self._pins.append((classes, first))
            self._commit()
            return {"missing": int(state["count"]) - self._index.count, "fields_exact": exact}

    def _rewind_fields(self, no: int, end: int) -> None:
        assert self._flusher is not None
        with self._flusher.lock:
            if self._field is not None:
                self._field.close()
                self._field = None
            self._index.clear_fields()
            self._widest = dict.fromkeys(self._names, 0)
            for item in survey_fields(self._directory, self._description):
                name = field_name(item.header.no)
                if item.header.no > no:
                    self._index.drop_field_file(item.header.no)
                    (self._directory / name).unlink()
                    del self._files[name]
                    continue
                until = end if item.header.no == no else item.end
                self._index_fields(item, until)
                if item.header.no == no:
                    self._field = Writer(self._directory, name, item.header, until)
                    self._files[name] = until
            sync_directory(self._directory)

    # ------------------------------------------------------------------ soundness
    def _note_damage(self, id_: int, reason: str) -> None:
        no, pos = self._index.where(id_)
        self._damaged[id_] = DamagedRecord(id_, segment_name(no), HEADER_BYTES + pos * self._stride, reason)

    def _found_damaged(self, id_: int) -> None:
        self._note_damage(id_, "checksum")
        self._index.remove_id(id_)

    def verify(self) -> list[DamagedRecord]:
        """Reads and checks every record; the damaged ones, which are taken out of use. Safe while training
        runs.
        """
        self._check()
        with self._lock:
            segments = self._index.segments()
        for no, _, _, _ in segments:
            ids = self._index.ids_of_segment(no)
            for at in range(0, len(ids), 256):
                part = ids[at : at + 256]
                status = self._read_rows(part, hidden=True)[4]
                for i in np.flatnonzero(status == 2):
                    with self._lock:
                        if self._index.where(int(part[i]))[0] == no:  # else: cleaned meanwhile
                            self._found_damaged(int(part[i]))
        fields = [
            DamagedRecord(None, field_name(item.header.no), 0, f"{item.damaged_bytes} bytes skipped")
            for item in survey_fields(self._directory, self._description)
            if item.damaged_bytes
        ]
        return [*(self._damaged[i] for i in sorted(self._damaged)), *fields]

    @property
    def bytes(self) -> int:
        """Bytes of the store's files on flash."""
        return sum(self._files.values()) + self._db.size

    def stats(self) -> dict[str, Any]:
        """Counts and bytes; ``bytes_written`` and ``payload_written`` cover the store's whole life."""
        self._check()
        return {
            "samples": self.count,
            "next_id": self.next_id,
            "flash_bytes": self.bytes,
            "bytes_written": self._bytes_written,
            "payload_written": self._payload_written,
            "bytes_read": self._index.bytes_read,
            "segments": len(self._index.segments()),
            "damaged": len(self._damaged),
            "damaged_fields": self._index.damaged_fields,
            "evicted": self._index.evicted,
            "index_ram_bytes": self._index.bytes,
            "flushes": self._flusher.flushes if self._flusher else 0,
            "per_class": {c: self.count_of(c) for c in self.classes()},
        }

    # ------------------------------------------------------------------ end
    def close(self) -> None:
        """Flushes, moves the commit point and gives the directory back. A second call does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        try:
            if self._flusher is not None:
                try:
                    self._flusher.close()
                finally:
                    # On a full device the commit point stays where it was; the next opening reads a bit more.
                    with self._lock, contextlib.suppress(StoreFull):
                        if not self._dirty_files():
                            self._commit()
        finally:
            self._release()

    def _release(self) -> None:
        if os.getpid() != self._pid:
            return
        for name in ("_tail", "_field"):
            writer = getattr(self, name, None)
            if writer is not None:
                writer.close()
        if getattr(self, "_index", None) is not None:
            self._index.close_files()
        if getattr(self, "_db", None) is not None:
            self._db.close()
        if self._lockfile is not None:
            self._lockfile.release()
            self._lockfile = None

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
