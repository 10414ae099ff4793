"""Opening a store: the directory, its owner, and the way from the commit point to the last sound record."""

from __future__ import annotations

import os
import secrets
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial

import lmdb
import numpy as np

from . import _storage, replacing
from .amending import Log
from .aside import blank, set_aside
from .cleaning import Cleaner
from .codecs import make_decoder
from .core import CHANGES_END, UNREAD_REASON
from .errors import StoreDamaged, StoreError, WrongKey, WrongStream
from .files import Lock, Writer, io_error, segment_name
from .forgetting import Forgetting, Note
from .index import Commit, Entry, IndexDamaged, IndexFile
from .layout import HEADER_BYTES, STORE_FORMAT, Description, Footer, Header
from .probe import probe
from .recovery import NO_OFFSETS, Survey, survey
from .schema import StreamSchema
from .ticket import Flusher
from .whole import make_folder, overwrite, sweep

FILE_BYTES = 16 << 20
_LOOKS = 20  # of a reader, while the owner keeps removing what it is looking at
POLICIES = ("balanced", "reservoir", "oldest")  # by number in the index


class Opening(Forgetting):
    """Brings a store on flash into use."""

    def _prepare(self, schema: StreamSchema | None, limit_bytes: int | None, limit_samples: int | None) -> Description:
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"'{self.path}' is a file, not a directory.", "Give the store a directory of its own.")
        if self.read_only:
            description = Description.read(self.path)
            if description is None:
                raise StoreError(f"There is no store in '{self.path}'.", "Check the path.")
        else:
            try:
                make_folder(self.path)
                make_folder(self._directory)
            except OSError as error:
                raise io_error(error, f"Cannot make the store '{self.path}'") from error
            self._lockfile = Lock(self.path)
            try:
                sweep(self.path, "*")
                replacing.finish(self.path)
                description = Description.read(self.path)
                if description is None:
                    if schema is None:
                        raise StoreError(f"There is no store in '{self.path}'.", "Give a schema to make one.")
                    probe(self.path)
                    size = min(_part(limit_bytes, 32), _part(_payload(schema, limit_samples), 32))
                    sealed = self._root is not None
                    description = Description(secrets.token_bytes(16), schema, size // 8 * 8, sealed=sealed)
                    description.write(self.path)
            except OSError as error:
                self._release()
                raise io_error(error, f"Cannot make the store '{self.path}'") from error
            except StoreError:
                self._release()
                raise
        what = None if schema is None else description.schema.difference(schema)
        if schema is not None and what is None and schema.codec != description.schema.codec:
            what = f"codec {description.schema.codec} against {schema.codec}"
        if what:
            self._release()
            raise WrongStream(
                f"The store '{self.path}' belongs to another stream: {what}.",
                "Use another directory for this stream.",
            )
        if description.sealed != (self._root is not None):
            self._release()
            if description.sealed:
                raise WrongKey(f"The store '{self.path}' is encrypted.", "Give the root key it was made with.")
            raise WrongStream(f"The store '{self.path}' is not encrypted.", "Open it without a root key.")
        return description

    def _segment_size(self, limit_bytes: int | None, limit_samples: int | None) -> int:
        """Space comes back segment by segment, so what a bounded store holds beside its samples is a part of them."""
        by_samples = None if limit_samples is None else limit_samples * self._stride
        size = min(self._description.file_bytes, _part(limit_bytes, 256), _part(by_samples, 32))
        return max(size, HEADER_BYTES + 8 * self._stride)

    def _capacity(self, limit_bytes: int | None, limit_samples: int | None) -> int:
        self._most = capacity = 1 << 62
        self._usable = None
        if limit_samples is not None:
            if limit_samples < 1:
                raise self._refuse(f"limit_samples is {limit_samples}.", "Use at least 1.")
            capacity = limit_samples
        if limit_bytes is not None:
            # Room for the open segment, one being compacted, the index, and dead records waiting to be
            # cleaned.
            each = self._stride + 6 + sum(_storage.field_stride(f.bytes) for f in self.schema.fields.values())
            fields = len(self.schema.fields) * self._description.file_bytes
            self._usable = usable = limit_bytes - 3 * self._segment_bytes - fields - (1 << 16)
            by_bytes = int(usable * 0.85) // each
            if by_bytes < 16:
                least = 3 * self._segment_bytes + fields + (1 << 16) + 20 * each
                raise self._refuse(f"A store of {limit_bytes} bytes is too small.", f"Give it at least {least} bytes.")
            self._most = capacity
            capacity = min(capacity, by_bytes)
        return capacity

    def _open_calmly(self, durability: str) -> None:
        """A reader beside an owner that removes a segment meanwhile looks again."""
        for left in range(_LOOKS, -1, -1):
            try:
                return self._open(durability)
            except FileNotFoundError as error:
                if getattr(self, "_db", None) is not None:
                    self._db.close()
                if not self.read_only or not left:
                    raise StoreDamaged(
                        f"'{error.filename}' vanished while the store was opened.", "Open it again."
                    ) from error

    def _open(self, durability: str, end: bool = True) -> None:
        """end: also forgetting that was begun and not ended. Where that fails, all is loaded again without it: a card
        that is full or cannot be read keeps nobody from opening a store.
        """
        self._load_all(durability)
        notes = self._forget_again(self._stray)
        self._unended = {note.subject for note in notes if not note.done}
        if self.read_only:
            return
        probe(self.path)  # it may have been moved to another file system
        self._settle_files(notes)
        if not end or not notes:
            return
        try:
            self._end_forgetting(notes)
            self._unended = set()
        except (OSError, lmdb.Error, StoreError):
            self._release_files()
            self._flusher = None
            self._open(durability, end=False)

    def _load_all(self, durability: str) -> None:
        """Index, segments and fields as they are on flash."""
        self.rebuilt = False
        if self.read_only and not (self.path / "index").exists():
            raise StoreDamaged(f"The index of '{self.path}' is missing.", "Open it once for writing to rebuild it.")
        try:
            self._db = IndexFile(self.path, self.read_only)
            commit, entries = self._db.load()
        except IndexDamaged:
            if self.read_only:
                raise
            commit, entries = self._rebuild_index()
        if self._db.damaged and not self.read_only:
            self._db.close()
            commit, entries = self._rebuild_index()
        if commit is None and not self.read_only:
            if not self._db.values() and (values := self._kept_values()):
                self._db.commit(meta=values)
            self.rebuilt = any(n.endswith(".seg") for n in os.listdir(self._directory))
        self._entries = entries
        self._files = {}
        self._damaged = {}
        self._widest = dict.fromkeys(self._names, 0)
        self._pending = {}
        codec = self._codec
        self._index = _storage.Index(
            str(self._directory), self.schema.sample_bytes, codec.stored, codec.code, codec.scales, len(self._names),
            self._description.file_bytes, self.capacity, POLICIES.index(self.eviction), self.eviction_seed,
            self._description.seal,
        )  # fmt: skip
        if self._sealing is not None:
            self._index.set_decoder(self._sealing.decoder())
            self._index.set_field_decoder(self._sealing.field_decoder())
        elif codec.variable:
            self._index.set_decoder(make_decoder(self.schema))
        self._pins = deque()
        known = commit or Commit()
        self._index.pinned = known.pinned
        self.wear.total = known.bytes_written
        if self._db.wear is not None:
            self.wear.restore(self._db.wear)
        self._payload_written = known.payload_written
        self._field_epoch = known.field_epoch
        log = self._open_log()
        gone = partial(self._gone, commit, self._notes(), log)
        found = self._found = survey(self._directory, self._description, commit, entries, self._db.ids_of, gone)
        self._unread = {item.header.no for item in found.segments if item.unread}
        physical = self._load(found, known, log)
        self._tail = None
        self._tail_tables = []
        if not self.read_only:
            self._adopt(found, physical, commit)
        self._open_fields()
        if not self.read_only:
            self._adopt_log(log)
            self._flusher = Flusher(durability, self._dirty_files)
            self._cleaner = Cleaner(self)

    def _settle_files(self, notes: list[Note]) -> None:
        """The commit point after an opening; what no entry names goes, or is set aside."""
        found = self._found
        self._commit(put=found.new_entries, drop=[n for n in found.lost_entries if n in self._entries])
        for no in found.lost_entries:
            self._entries.pop(no, None)
        self._entries.update(found.new_entries)
        self._fit_capacity()
        for item in found.orphans:
            if notes and self._sealing is None:
                overwrite(item.path)
            else:
                item.path.unlink(missing_ok=True)
        for item in found.aside:
            set_aside(self.path, item)
        if found.aside and self._sealing is None:
            for note in self._notes():
                blank(self.path, self._codec.variable, note.subject, note.below)
        if self._description.format != STORE_FORMAT:
            self._description = replace(self._description, format=STORE_FORMAT)
            self._description.write(self.path)
        kept = None
        with suppress(OSError):  # the index has them
            kept = self._kept_values()
        if kept != self._db.values():  # a crash came between, an older version wrote it, or it cannot be read
            self._keep_values()
        self._mend_names()
        del self._found

    def _stray(self, note: Note) -> bool:
        """Whether a file that no entry names holds records that a request took out."""
        for item in [*self._found.orphans, *self._found.aside]:
            table = item.load()
            ids = item.header.first_id + table.rel.astype(np.int64)
            if ((table.ok > 0) & (table.subjects == note.subject) & (ids < note.below)).any():
                return True
        return False

    def _gone(
        self,
        commit: Commit | None,
        notes: list[Note],
        log: Log,
        ids: np.ndarray,
        classes: np.ndarray,
        subjects: np.ndarray,
    ) -> np.ndarray:
        """Which records nobody misses: evicted at the commit point, taken out, or of subjects that were forgotten."""
        ok, classes = log.amend(ids, np.ones(len(ids), np.uint8), classes)
        gone = ok == 0
        for note in notes:
            gone |= (subjects == note.subject) & (ids < note.below)
        if commit is None:
            return gone
        view = dict(zip(*(a.tolist() for a in _view_since(commit, log))))
        if _storage.THRESHOLD in view:
            limit = view[_storage.THRESHOLD] % 2**64
            return gone | np.array([self._index.evicted_by_key(int(i), limit) for i in ids], bool)
        first = np.array([view.get(c, 0) for c in classes.tolist()], np.int64)
        late = np.array([view.get(-c - 10, 0) for c in classes.tolist()], np.int64)
        return gone | (ids < np.where(log.of(ids)[0], np.minimum(first, late), first))

    def _load(self, found: Survey, known: Commit, log: Log) -> int:
        """Brings the segments into the index one by one; the next id on flash.

        The view of the commit point is set once everything below it is known; what stands behind it comes
        into view in order. An id that is on no sound record keeps its number.
        """
        view_set = False
        view_classes, view_first = _view_since(known, log)
        relabelled = log.classes >= -1
        self._index.mark_relabelled(log.ids[relabelled], log.classes[relabelled])

        def see() -> None:
            nonlocal view_set
            if not view_set:
                self._index.set_view(known.next_id, view_classes, view_first)
                view_set = True

        physical = known.physical_next
        for item in found.segments:
            head, table = item.header, item.load()
            if head.first_id > known.next_id:
                see()
            rel = table.rel if head.compacted else np.zeros(0, np.uint32)
            self._index.add_segment(head.no, head.first_id, head.crc, rel, head.compacted, [])
            variable = self._codec.variable and not item.footer
            offsets = table.offsets if variable else NO_OFFSETS
            ids = head.first_id + table.rel.astype(np.int64)
            ok, now = log.amend(ids, table.ok, table.classes)
            self._index.add_records(head.no, ok, table.rel, now, table.subjects, offsets)
            if self._codec.variable and item.full:
                at = Footer.offsets_at(item.size, item.count) if item.footer else 0
                self._index.seal_segment(head.no, item.end, at)
            self._files[segment_name(head.no)] = item.size
            for pos in np.flatnonzero(table.ok == 0):
                self._note_damage(head.first_id + int(table.rel[pos]), UNREAD_REASON if item.unread else "checksum")
            if not len(table):
                continue
            end = head.first_id + int(table.rel[-1]) + 1
            physical = max(physical, end)
            if end > known.next_id:
                see()
                self._index.advance_at(ids, now)
                self._index.skip_to(end)
        see()
        self._index.skip_to(physical)
        return physical

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

    def _adopt(self, found: Survey, physical: int, commit: Commit | None) -> None:
        """Makes the last segment ready for appending, or begins a new one."""
        numbers = [int(n[:8], 16) for n in os.listdir(self._directory) if n.endswith(".seg")]
        self._last_no = max([*numbers, commit.tail_no if commit else 0], default=0)
        last = found.segments[-1] if found.segments else None
        if last is None or last.full:
            self._new_tail(physical)
            return
        head = last.header
        self._tail = Writer(self._directory, segment_name(head.no), head, last.end, room=self._segment_bytes)
        if Header.read(self._tail.fd) != head:
            os.pwrite(self._tail.fd, head.packed, 0)  # its header was damaged
        self._tail.dirty = True
        self._tail_tables = [last.load()]
        self._files[segment_name(head.no)] = last.end


def _view_since(commit: Commit, log: Log) -> tuple[np.ndarray, np.ndarray]:
    """The view of a commit point (classes, first live ids) that also lets in what was relabelled after it."""
    view = dict(zip(commit.view_classes.tolist(), commit.view_first.tolist()))
    end = view.pop(CHANGES_END, 0)
    fresh = (log.offsets >= end) & (log.classes >= -1)
    for cls in np.unique(log.classes[fresh], return_counts=True)[0].tolist():
        first = int(log.ids[fresh & (log.classes == cls)][0])
        view[-cls - 10] = min(view.get(-cls - 10, first), first)
    return np.array(list(view), np.int32), np.array(list(view.values()), np.int64)


def _part(limit: int | None, parts: int) -> int:
    """Bytes of a file in a store of ``limit`` bytes that is to have many of them; None: without a limit."""
    return FILE_BYTES if limit is None else min(FILE_BYTES, max(1 << 16, limit // parts))


def _payload(schema: StreamSchema, samples: int | None) -> int | None:
    """Bytes of so many samples and their values."""
    return None if samples is None else samples * (schema.sample_bytes + sum(f.bytes for f in schema.fields.values()))
