"""What was changed of samples after they were stored: other classes, and samples taken out one by one.

``changes.log`` beside the segments is the truth, the index does not know it: a header, then batches, each one call: a
head {crc32c u32, kind u32, number u64}, the ids (int64, ascending), and of relabelled ones the classes (int32), padded
to a multiple of 8. The checksum goes on from the header's, so bytes of another store never pass. A batch that is cut
off by a crash at the end did not happen. Compaction writes records with their class of now; the log keeps what it says
of samples that are still on flash, since it also tells which of them got their class late (`native/catalog.h`).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._storage import crc32c
from .arguments import ids_of, ints_of
from .errors import BadRecord, CannotRead
from .files import Writer, changes, typed
from .layout import CHANGES, HEADER_BYTES, MAX_CLASS, Description, Header
from .scrub import Scrub
from .sets import distinct
from .whole import sync_directory, temporary
from .writing import Writing

FILE = "changes.log"
RELABELLED, REMOVED = 1, 2
_HEAD = struct.Struct("<IIQ")
_REWRITE_BYTES = 1 << 16  # a shorter log is left as it is
_GONE = -2  # class of an id that was taken out

Listener = Callable[[np.ndarray, np.ndarray], None]


class Log:
    """The log of one store as read: the last word on every id in it."""

    def __init__(self, ids: np.ndarray, classes: np.ndarray, offsets: np.ndarray, end: int, damaged: int) -> None:
        self.ids, self.classes, self.offsets = ids, classes, offsets  # ascending ids; class -2: taken out
        self.end = end  # behind the last sound batch
        self.damaged = damaged  # bytes before it that are in no sound batch

    @staticmethod
    def read(path: Path, header: Header) -> Log:
        """Raises `OSError`; an absent file is an empty log."""
        parts: list[tuple[np.ndarray, np.ndarray, int]] = []
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        at, end, damaged = HEADER_BYTES, HEADER_BYTES, 0
        while at + _HEAD.size <= len(data):
            batch = _batch(data, at, header.crc)
            if batch is None:
                at += 8
                continue
            damaged += at - end
            parts.append((*batch[:2], at))
            at = end = batch[2]
        if not parts:
            return Log(*(np.zeros(0, t) for t in (np.int64, np.int32, np.int64)), end, damaged)  # type: ignore[arg-type]
        ids = np.concatenate([p[0] for p in parts])
        classes = np.concatenate([p[1] for p in parts])
        offsets = np.concatenate([np.full(len(p[0]), p[2], np.int64) for p in parts])
        order = np.argsort(ids, kind="stable")
        last = order[np.append(ids[order][1:] != ids[order][:-1], True)]
        return Log(ids[last], classes[last], offsets[last], end, damaged)

    def of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of ``ids`` it speaks of (bool), and their places in it."""
        if not len(self.ids):
            return np.zeros(len(ids), bool), np.zeros(len(ids), np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return self.ids[at] == ids, at

    def amend(self, ids: np.ndarray, ok: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Records ``ids`` with what they are now: whether they are there, and their classes."""
        known, at = self.of(ids)
        if not known.any():
            return ok, classes
        now = self.classes[at]
        ok = np.where(known & (now == _GONE), 0, ok).astype(np.uint8)
        return ok, np.where(known & (now != _GONE), now, classes).astype(np.int32)


def _batch(data: bytes, at: int, seed: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """ids, classes and the end of a sound batch."""
    crc, kind, n = _HEAD.unpack_from(data, at)
    if kind not in (RELABELLED, REMOVED) or not 0 < n <= (len(data) - at) // 8:
        return None
    size = _size(kind, n)
    if at + size > len(data) or crc32c(data[at + 4 : at + size], seed) != crc:
        return None
    ids = np.frombuffer(data, "<i8", n, at + _HEAD.size).astype(np.int64)
    classes = np.full(n, _GONE, np.int32)
    if kind == RELABELLED:
        classes = np.frombuffer(data, "<i4", n, at + _HEAD.size + 8 * n).astype(np.int32)
    if (ids[0] < 0) or (np.diff(ids) <= 0).any() or (classes < _GONE).any() or (classes > MAX_CLASS).any():
        return None
    return ids, classes, at + size


def _size(kind: int, n: int) -> int:
    return (_HEAD.size + n * (12 if kind == RELABELLED else 8) + 7) // 8 * 8


def _packed(kind: int, ids: np.ndarray, classes: np.ndarray | None, seed: int) -> bytes:
    body = struct.pack("<IQ", kind, len(ids)) + ids.astype("<i8").tobytes()
    if classes is not None:
        body += classes.astype("<i4").tobytes()
    body = body.ljust(_size(kind, len(ids)) - 4, b"\0")
    return struct.pack("<I", crc32c(body, seed)) + body


class Amending(Writing):
    """Relabels and removes samples by id."""

    _log: Log | None
    _log_writer: Writer | None
    _listeners: list[Listener]

    @changes
    def relabel(self, ids: Any, classes: Any) -> None:
        """Gives live samples ``ids`` the classes [n] or one for all, -1 for none; on flash when it returns, all or
        none. Memory and others that hold samples hear of it through `listen`. Raises `BadRecord` for an id that is not
        live.
        """
        which = ids_of(ids)
        labels = ints_of(classes, len(which), "classes", -1, MAX_CLASS)
        which, labels = _last_of_each(which, labels)
        with self._lock:
            self._check_live(which)
            self._note_change(RELABELLED, which, labels)
            self._index.relabel(which, labels)
            self._commit()
            for listener in self._listeners:
                listener(which, labels)

    @changes
    def remove(self, ids: Any, erase: bool = False) -> int:
        """Takes live samples ``ids`` out, never to be served again; on flash when it returns, all or none. Their space
        is returned as that of evicted ones. erase: their files are rewritten and overwritten at once, as by `forget`.
        Ids that are not live are passed over, but for `erase`, which a crash may have cut short. How many were taken
        out.
        """
        given = distinct(ids_of(ids))
        with self._lock:
            live = self._live(given)
            which = given[live]
            if len(which):
                self._note_change(REMOVED, which, None)
                self._index.remove_ids(which)
                self._commit()
                for listener in self._listeners:
                    listener(which, np.full(len(which), _GONE, np.int32))
            if erase and self._sealing is None:
                Scrub(self, lambda ids, _: np.isin(ids, given)).run()
        return len(which)

    @typed
    def amended(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids, ascending, and what they are now, of the samples on flash that were ever relabelled (their class) or
        removed (-2)."""
        with self._lock:
            self._check()
            log = Log.read(self.path / FILE, changes_header(self._description))
        return log.ids, log.classes

    def listen(self, listener: Listener) -> None:
        """``listener(ids, classes)`` is called after every `relabel` and `remove` (class -2), by the thread that asked
        for it, with the store's lock held.
        """
        self._listeners.append(listener)

    def _check_live(self, ids: np.ndarray) -> None:
        live = self._live(ids)
        if not live.all():
            raise BadRecord(f"There is no sample {int(ids[~live][0])}.", "Give ids of live samples.")

    def _live(self, ids: np.ndarray) -> np.ndarray:
        return np.asarray(self._index.are_live(ids), bool)

    def _note_change(self, kind: int, ids: np.ndarray, classes: np.ndarray | None) -> None:
        assert self._flusher is not None
        if not len(ids):
            return
        self._flusher.flush()  # nothing is said of a sample that a power cut could take
        if self._log_writer is None:
            self._log_writer = Writer(self.path, FILE, changes_header(self._description))
        text = _packed(kind, ids, classes, self._log_writer.header.crc)
        self._log_writer.append(text)
        self._log_writer.sync()
        self.wear.add(len(text))
        self._log_end = self._log_writer.end

    def _open_log(self) -> Log:
        """The log as it is on flash."""
        log = Log.read(self.path / FILE, changes_header(self._description))
        self._log_end = log.end
        return log

    def _adopt_log(self, log: Log) -> None:
        """Makes the log ready for more; what it says of samples that are gone is dropped when that is most of it."""
        path, header = self.path / FILE, changes_header(self._description)
        self._log_writer = None
        if not path.exists():
            return
        known = np.array([self._index.where(int(i))[0] > 0 for i in log.ids], bool)
        size = sum(_size(k, int(n)) for k, n in self._kinds(log, known))
        if log.end > _REWRITE_BYTES and 2 * (HEADER_BYTES + size) < log.end:
            self._rewrite_log(log, known, header)
        self._log_writer = Writer(self.path, FILE, header, self._log_end)
        if Header.read(self._log_writer.fd) != header:
            os.pwrite(self._log_writer.fd, header.packed, 0)
            self._log_writer.dirty = True
            self._log_writer.sync()

    @staticmethod
    def _kinds(log: Log, known: np.ndarray) -> list[tuple[int, int]]:
        gone = log.classes == _GONE
        return [(RELABELLED, int((known & ~gone).sum())), (REMOVED, int((known & gone).sum()))]

    def _rewrite_log(self, log: Log, known: np.ndarray, header: Header) -> None:
        path = self.path / FILE
        gone = log.classes == _GONE
        text = header.packed
        for kind, keep in ((RELABELLED, known & ~gone), (REMOVED, known & gone)):
            if keep.any():
                text += _packed(kind, log.ids[keep], log.classes[keep] if kind == RELABELLED else None, header.crc)
        with temporary(path) as (fd, name):
            os.write(fd, text)
            os.fsync(fd)
            again = Log.read(Path(name), header)
            if not np.array_equal(again.ids, log.ids[known]) or not np.array_equal(again.classes, log.classes[known]):
                raise CannotRead(f"What was written to '{name}' is not what is read there.", "Check the device.")
            os.replace(name, path)
        sync_directory(self.path)
        self._log_end = len(text)


def changes_header(description: Description) -> Header:
    """The log's header, which follows from the store."""
    return Header(CHANGES, 0, 0, 0, 0, description.store)


def _last_of_each(ids: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending ids with the last class given for each."""
    order = np.argsort(ids, kind="stable")
    ids, classes = ids[order], classes[order]
    last = np.append(ids[1:] != ids[:-1], True) if len(ids) else np.zeros(0, bool)
    return ids[last], np.ascontiguousarray(classes[last])
