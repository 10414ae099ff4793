"""Returning the space of evicted samples: whole dead segments are removed, thinly filled ones are merged.

Eviction itself is decided in the index, by the sequence of samples alone; what happens here changes where
records stand, never which are live.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import _storage
from .core import UNREAD
from .errors import CannotRead, StoreFull
from .field_recovery import FieldFile, read_field_file
from .files import Writer, field_name, segment_name, settling
from .index import Entry
from .layout import COMPACTED, SAMPLES, Footer, Header
from .recovery import Table, footer_of_table, scan
from .whole import overwrite, sync_directory

if TYPE_CHECKING:
    from .writing import Writing

_BLOCK = 1024  # records copied at a time


@dataclass(frozen=True)
class Rewritten:
    """A segment made of others, on flash and not yet in use: its header, its entry, the ids in it relative to the
    first, the bytes of its file.
    """

    head: Header
    entry: Entry
    rel: np.ndarray
    size: int


class Cleaner:
    """Cleans one store; all methods run under the store's lock."""

    def __init__(self, store: Writing) -> None:
        self._store = store
        self._busy = False
        self._overwrite = False  # files that go are overwritten first
        self._asked = False  # by the caller, who is told what cannot be read
        self._stuck: set[int] = set()  # segments with records that the device did not give

    def _used(self) -> int:
        s = self._store
        return sum(s._files.values()) + s._db.size

    def make_room(self, more: int) -> None:
        """Makes ``more`` bytes fit below the limit; `StoreFull` when that is impossible."""
        s = self._store
        if s.limit_bytes is None or self._busy:
            return
        target = s.limit_bytes - more - s._segment_bytes  # a merge needs room for its result beside its sources
        if self._used() <= target:
            return
        self._busy = True
        try:
            with settling(s):
                self._make_room(target)
        finally:
            self._busy = False
        if self._used() + more > s.limit_bytes:
            full = StoreFull(f"The store '{s.path}' cannot stay below {s.limit_bytes} bytes.", "Raise the limit.")
            full.unchanged = True
            raise full

    def _make_room(self, target: int) -> None:
        self._drop_dead()
        while self._used() > target and self._merge(0.95):
            pass
        if self._used() > target:
            # Space now is worth more than a resume from an old checkpoint.
            self._store._index.release_all()
            self._drop_dead()
            while self._used() > target and (self._merge(0.999) or self._compact_field_file(force=True)):
                self._drop_dead()

    def compact(self) -> int:
        """All that can be given back; the bytes."""
        s, before = self._store, self._used()
        self._busy = self._asked = True
        self._stuck.clear()
        try:
            s._commit()
            s._index.release_all()
            self._drop_dead()
            while self._merge(0.95):
                pass
            numbers = sum(k.endswith(".fld") for k in s._files)
            for _ in range(numbers):
                if not self._compact_field_file(force=True):
                    break
        finally:
            self._busy = self._asked = False
        return before - self._used()

    def tidy(self) -> None:
        """Keeps dead space in bounds when no byte limit forces it."""
        s = self._store
        self._drop_dead()
        if not s.wear.allows(s._segment_bytes, optional=True):
            s.wear.declined += 1
            return
        if s.limit_bytes is None and s.capacity < 1 << 62:
            retained = sum(r for _, _, _, r in s._index.segments())
            dead = sum(v for k, v in s._files.items() if k.endswith(".seg")) - retained * s._stride
            if dead > retained * s._stride + 4 * s._segment_bytes:
                self._merge(0.5)

    def after_field_file(self) -> None:
        if not self._store._index.pinned:
            self.compact_fields()

    # ------------------------------------------------------------------ sample segments
    def _sealed(self) -> list[tuple[int, int, int, int]]:
        s = self._store
        return [x for x in s._index.segments() if (s._tail is None or x[0] != s._tail.no) and x[0] not in s._unread]

    def _drop_dead(self) -> None:
        dead = [no for no, _, _, retained in self._sealed() if retained == 0]  # nothing unread is in them
        if dead:
            self._replace(dead, None)

    def _replace(self, nos: list[int], new: Rewritten | None) -> None:
        """Segments ``nos`` give way to ``new``: on flash, then in RAM; then their files go."""
        s = self._store
        s._commit(put={new.head.no: new.entry} if new else None, drop=nos)
        if new is not None:
            s._entries[new.head.no] = new.entry
            s._index.add_segment(new.head.no, new.head.first_id, new.head.crc, new.rel, True, nos)
            if s._codec.variable:
                s._index.seal_segment(new.head.no, new.entry.end, Footer.offsets_at(new.size, new.entry.count))
        else:
            s._index.remove_segments(nos)
        for no in nos:
            s._entries.pop(no, None)
        for no in nos:
            self._remove(segment_name(no))

    def _merge(self, fullest: float) -> bool:
        """Merges the run of neighbours around the emptiest segment; False when none is emptier than
        ``fullest``.
        """
        s = self._store
        sealed = [x for x in self._sealed() if x[0] not in self._stuck]
        if not sealed:
            return False
        fill = [retained / max(1, count) for _, _, count, retained in sealed]
        size = [s._files[segment_name(no)] * f for (no, _, _, _), f in zip(sealed, fill)]  # of what is kept of it
        best = min(range(len(sealed)), key=lambda i: fill[i])
        if fill[best] > fullest:
            return False
        low = high = best
        total = size[best]
        # A neighbour that is nearly full costs much and gives little; a small one is worth joining in any case.
        joins = [f <= fullest and (f <= fill[best] + 0.1 or n < s._segment_bytes / 8) for f, n in zip(fill, size)]
        while True:
            options = []
            if low > 0 and total + size[low - 1] <= s._segment_bytes and joins[low - 1]:
                options.append((fill[low - 1], -1))
            if high + 1 < len(sealed) and total + size[high + 1] <= s._segment_bytes and joins[high + 1]:
                options.append((fill[high + 1], 1))
            if not options or high - low >= 15:
                break
            if min(options)[1] < 0:
                low -= 1
                total += size[low]
            else:
                high += 1
                total += size[high]
        try:
            self._rewrite(sealed[low : high + 1])
        except CannotRead:
            if self._asked:
                raise
            self._stuck.update(x[0] for x in sealed[low : high + 1])  # another time; there are others to merge
            return self._merge(fullest)
        return True

    def _rewrite(self, sources: list[tuple[int, int, int, int]]) -> None:
        """Copies what is retained of ``sources``, as it is encoded, into one new segment that replaces them."""
        s = self._store
        nos = [x[0] for x in sources]
        ids = np.concatenate([s._index.retained_ids(no) for no in nos])
        ids.sort()
        if not len(ids):
            self._replace(nos, None)
            return
        s._last_no += 1
        head = Header(SAMPLES, s._last_no, int(ids[0]), s._description.payload, COMPACTED, s._description.store)
        out = None
        try:
            out = Writer(s._directory, segment_name(head.no), head)
            new, damaged = self._copy(ids, head, out)
        except BaseException as error:  # its sources are as they were
            with contextlib.suppress(OSError):
                if out is not None:
                    out.close()
                    out.path.unlink(missing_ok=True)
                if isinstance(error, (StoreFull, CannotRead)):
                    error.unchanged = True
            raise
        out.close()
        s.wear.add(new.size)
        s._files[out.path.name] = new.size
        for id_ in damaged:
            s._take_out(id_)
        self._replace(nos, new)

    def _copy(self, ids: np.ndarray, head: Header, out: Writer) -> tuple[Rewritten, list[int]]:
        """The records ``ids`` in a file of their own, flushed and read back; the ids of damaged ones, which stay
        behind. Raises `CannotRead` when the device does not give a record, of the old file or of the new one.
        """
        s = self._store
        tables, damaged = [], list[int]()
        for at in range(0, len(ids), _BLOCK):
            part = np.ascontiguousarray(ids[at : at + _BLOCK])
            status, classes, subjects, (end, error, offsets) = s._index.copy_records(
                part, out.fd, out.end, head.first_id, head.crc
            )
            out.appended(end, error)
            if (status == UNREAD).any():
                raise CannotRead(
                    f"The device does not give sample {int(part[status == UNREAD][0])} of '{s.path}'; its file stays.",
                    "Check the device (dmesg), and try again.",
                )
            damaged += part[status != 0].tolist()
            good = status == 0
            rel = (part[good] - head.first_id).astype(np.uint32)
            tables.append(Table(np.ones(len(rel), np.uint8), rel, classes[good], subjects[good], offsets))
        end, table = out.end, Table.join(tables)
        out.append(footer_of_table(table, True, s._codec.variable).pack(head.crc))
        out.sync()
        os.posix_fadvise(out.fd, 0, 0, os.POSIX_FADV_DONTNEED)  # what is read now comes from the device
        got, _, unread = scan(out.fd, end, head, s._codec.variable)
        same = not unread and got.ok.all() and np.array_equal(got.rel, table.rel)
        if not same or not Footer.read(out.fd, out.end, head.crc):
            raise CannotRead(
                f"What was written to '{out.path}' is not what is read there; its sources stay.", "Check the device."
            )
        entry = Entry(head.first_id, len(table), end, head.crc, table.rel)
        return Rewritten(head, entry, table.rel, out.end), damaged

    # ------------------------------------------------------------------ field files
    def compact_fields(self) -> None:
        """Rewrites the oldest field files while more than half of all field bytes are superseded."""
        s = self._store
        if self._busy:
            return
        each = sum(_storage.field_stride(f.bytes) for f in s.schema.fields.values())
        self._busy = True
        try:
            while True:
                files = [v for k, v in s._files.items() if k.endswith(".fld")]
                if len(files) <= 2 or sum(files) <= 2 * s.count * each + 2 * s._description.file_bytes:
                    return
                if not self._compact_field_file(force=False):
                    return
        finally:
            self._busy = False

    def _compact_field_file(self, force: bool) -> bool:
        s = self._store
        numbers = sorted(int(k[:8], 16) for k in s._files if k.endswith(".fld"))
        if len(numbers) < 2 or s._field is None:
            return False
        return self._rewrite_field_file(numbers[0], 0.95 if force else 1.0)

    def _rewrite_field_file(self, oldest: int, fullest: float = 1.0) -> bool:
        """Copies what is current of a field file behind the newest; False when that is more than ``fullest``."""
        s = self._store
        assert s._field is not None
        item = self._fields_of(oldest)
        keep = s._index.current_fields(oldest, item.field, item.ids, item.offset).astype(bool)
        if keep.sum() > fullest * len(keep):
            return False
        first = s._field.no
        fd = os.open(s._directory / field_name(oldest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            for f, name in enumerate(s._names):
                for i in np.flatnonzero(keep & (item.field == f)):
                    length = int(item.length[i])
                    raw = os.pread(fd, length, int(item.offset[i]) + _storage.FIELD_HEAD)
                    if len(raw) != length:
                        raise CannotRead(f"'{field_name(oldest)}' in '{s.path}' is cut off.", "Check the device.")
                    s._write_field_bytes(name, item.ids[i : i + 1], np.frombuffer(raw, np.uint8).reshape(1, -1))
        finally:
            os.close(fd)
        assert s._flusher is not None
        with s._flusher.lock:  # who waits for his values must not take a flush that is under way for done
            s._field.sync()
        self._read_back(first, item.field[keep], item.ids[keep])
        s._field_epoch += 1
        s._commit()
        s._index.drop_field_file(oldest)
        self._remove(field_name(oldest))
        sync_directory(s._directory)
        return True

    def _fields_of(self, no: int) -> FieldFile:
        """A field file all of which could be read."""
        s = self._store
        item = read_field_file(s._directory, no, s._description)
        if item.unread:
            unread = CannotRead(
                f"The device does not give {item.unread} bytes of '{field_name(no)}' in '{s.path}'; the file stays.",
                "Check the device (dmesg), and try again.",
            )
            unread.unchanged = True
            raise unread
        return item

    def _read_back(self, first: int, field: np.ndarray, ids: np.ndarray) -> None:
        """Whether the values of ``ids`` stand in field files from ``first`` on."""
        s = self._store
        assert s._field is not None
        found = set[tuple[int, int]]()
        for no in sorted(int(k[:8], 16) for k in s._files if k.endswith(".fld")):
            if no >= first:
                item = self._fields_of(no)
                current = s._index.current_fields(no, item.field, item.ids, item.offset).astype(bool)
                found.update(zip(item.field[current].tolist(), item.ids[current].tolist()))
        if not found.issuperset(zip(field.tolist(), ids.tolist())):
            raise CannotRead(f"Values that were written to '{s.path}' are not read there.", "Check the device.")

    # ------------------------------------------------------------------ forgetting
    def scrub(self, segments: list[int], fields: list[int]) -> None:
        """Rewrites files without what is not retained and overwrites the old ones with zeros before they go. Field
        files first: the segments say whose a value is. How much of the medium that reaches is the medium's business.
        """
        s = self._store
        self._busy = self._overwrite = self._asked = True
        try:
            for no in fields:
                if s._field is None or s._field.no == no:
                    s._next_field_file()
                self._rewrite_field_file(no)
            if s._tail is not None and s._tail.no in segments:
                s._seal()
            for no in segments:
                self._rewrite([x for x in self._sealed() if x[0] == no])
        finally:
            self._busy = self._overwrite = self._asked = False

    def _remove(self, name: str) -> None:
        s = self._store
        size = s._files.pop(name, 0)
        path = s._directory / name
        if self._overwrite and path.exists():
            overwrite(path)
            s.wear.add(size)
        path.unlink(missing_ok=True)
