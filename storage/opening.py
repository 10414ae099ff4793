"""Opening a store: the directory, its owner, and the way from the commit point to the last sound record."""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _storage
from .cleaning import Cleaner
from .errors import StoreDamaged, StoreError, WrongStream
from .files import Lock, Writer, io_error, segment_name
from .index import Commit, Entry, IndexFile
from .layout import HEADER_BYTES, Description, Header
from .recovery import survey
from .schema import StreamSchema
from .ticket import Flusher
from .writing import Writing

FILE_BYTES = 8 << 20


class Opening(Writing):
    """Brings a store on flash into use."""

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
        self._files = {}
        self._damaged = {}
        self._widest = dict.fromkeys(self._names, 0)
        self._index = _storage.Index(
            str(self._directory),
            self.schema.sample_bytes,
            len(self._names),
            self._description.file_bytes,
            self.capacity,
        )
        self._pins = deque()
        known = commit or Commit()
        self._index.pinned = known.pinned
        self.wear.total = known.bytes_written
        if self._db.wear is not None:
            self.wear.restore(self._db.wear)
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
        self._tail = None
        self._tail_tables = []
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
