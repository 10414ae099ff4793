"""Returning the space of evicted samples: whole dead segments are removed, thinly filled ones are merged.

Eviction itself is decided in the index, by the sequence of samples alone; what happens here changes where
records stand, never which are live.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from . import _storage
from .errors import StoreFull
from .field_recovery import read_field_file
from .files import Writer, field_name, segment_name
from .index import Entry
from .jsonfile import sync_directory
from .layout import COMPACTED, SAMPLES, Footer, Header
from .recovery import Table, footer_of_table

if TYPE_CHECKING:
    from .writing import Writing

_BLOCK = 1024  # records copied at a time


class Cleaner:
    """Cleans one store; all methods run under the store's lock."""

    def __init__(self, store: Writing) -> None:
        self._store = store
        self._busy = False
        self._overwrite = False  # files that go are overwritten first

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
            self._drop_dead()
            while self._used() > target and self._merge(0.95):
                pass
            if self._used() > target:
                # Space now is worth more than a resume from an old checkpoint.
                s._index.release_all()
                self._drop_dead()
                while self._used() > target and (self._merge(0.999) or self._compact_field_file(force=True)):
                    self._drop_dead()
        finally:
            self._busy = False
        if self._used() + more > s.limit_bytes:
            raise StoreFull(f"The store '{s.path}' cannot stay below {s.limit_bytes} bytes.", "Raise the limit.")

    def compact(self) -> int:
        """All that can be given back; the bytes."""
        s, before = self._store, self._used()
        self._busy = True
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
            self._busy = False
        return before - self._used()

    def after_seal(self) -> None:
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
        return [x for x in s._index.segments() if s._tail is None or x[0] != s._tail.no]

    def _drop_dead(self) -> None:
        dead = [no for no, _, _, retained in self._sealed() if retained == 0]
        if dead:
            self._replace(dead, None)

    def _replace(self, nos: list[int], new: tuple[int, Entry] | None) -> None:
        s = self._store
        for no in nos:
            s._entries.pop(no, None)
            s._pending.pop(no, None)
        if new is not None:
            s._entries[new[0]] = new[1]
        else:
            s._index.remove_segments(nos)
        s._commit(put=dict([new]) if new else None, drop=nos)
        for no in nos:
            self._remove(segment_name(no))

    def _merge(self, fullest: float) -> bool:
        """Merges the run of neighbours around the emptiest segment; False when none is emptier than
        ``fullest``.
        """
        s = self._store
        sealed = self._sealed()
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
        self._rewrite(sealed[low : high + 1])
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
        first = int(ids[0])
        head = Header(SAMPLES, s._last_no, first, s._description.payload, COMPACTED, s._description.store)
        out = Writer(s._directory, segment_name(head.no), head)
        tables = []
        try:
            for at in range(0, len(ids), _BLOCK):
                part = np.ascontiguousarray(ids[at : at + _BLOCK])
                status, classes, subjects, (end, error, offsets) = s._index.copy_records(
                    part, out.fd, out.end, first, head.crc
                )
                out.appended(end, error)
                for i in np.flatnonzero(status):
                    s._take_out(int(part[i]))
                good = status == 0
                rel = (part[good] - first).astype(np.uint32)
                tables.append(Table(np.ones(len(rel), np.uint8), rel, classes[good], subjects[good], offsets))
            end, table = out.end, Table.join(tables)
            out.append(footer_of_table(table, True, s._codec.variable).pack(head.crc))
            out.sync()
        except BaseException:
            out.close()
            out.path.unlink(missing_ok=True)
            raise
        size = out.end
        out.close()
        s.wear.add(size)
        s._files[out.path.name] = size
        s._index.add_segment(head.no, first, head.crc, table.rel, True, nos)
        if s._codec.variable:
            s._index.seal_segment(head.no, end, Footer.offsets_at(size, len(table)))
        self._replace(nos, (head.no, Entry(first, len(table), end, head.crc, table.rel)))

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
        item = read_field_file(s._directory, oldest, s._description)
        keep = s._index.current_fields(oldest, item.field, item.ids, item.offset).astype(bool)
        if keep.sum() > fullest * len(keep):
            return False
        with open(s._directory / field_name(oldest), "rb") as file:
            for f, name in enumerate(s._names):
                for i in np.flatnonzero(keep & (item.field == f)):
                    length = int(item.length[i])
                    raw = os.pread(file.fileno(), length, int(item.offset[i]) + _storage.FIELD_HEAD)
                    s._write_field_bytes(name, item.ids[i : i + 1], np.frombuffer(raw, np.uint8).reshape(1, -1))
        s._field_epoch += 1
        assert s._flusher is not None
        with s._flusher.lock:  # who waits for his values must not take a flush that is under way for done
            s._field.sync()
        s._index.drop_field_file(oldest)
        s._commit()
        self._remove(field_name(oldest))
        sync_directory(s._directory)
        return True

    # ------------------------------------------------------------------ forgetting
    def scrub(self, ids: np.ndarray) -> list[str]:
        """Rewrites every file that holds a record of ``ids`` (ascending, no longer retained) without them and
        overwrites the old one with zeros before it goes; their names. How much of the medium that reaches is
        the medium's business.
        """
        s = self._store
        old = [no for no, _, _, _ in s._index.segments() if np.isin(s._index.ids_of_segment(no), ids).any()]
        if s._tail is not None and s._tail.no in old:
            s._seal()
        fields = []
        for no in sorted(int(k[:8], 16) for k in s._files if k.endswith(".fld")):
            if np.isin(read_field_file(s._directory, no, s._description).ids, ids).any():
                fields.append(no)
        self._busy = self._overwrite = True
        try:
            for no in old:
                self._rewrite([x for x in self._sealed() if x[0] == no])
            for no in fields:
                if s._field is not None and s._field.no == no:
                    s._next_field_file()
                self._rewrite_field_file(no)
        finally:
            self._busy = self._overwrite = False
        return [segment_name(no) for no in old] + [field_name(no) for no in fields]

    def _remove(self, name: str) -> None:
        s = self._store
        size = s._files.pop(name, 0)
        path = s._directory / name
        if self._overwrite and path.exists():
            with open(path, "r+b") as file:
                for at in range(0, size, 1 << 20):
                    file.write(bytes(min(1 << 20, size - at)))
                file.flush()
                os.fdatasync(file.fileno())
            s.wear.add(size)
        path.unlink(missing_ok=True)
