"""The LMDB side of the store: one entry per full segment, the commit point and the caller's small values.

Every value carries a checksum of itself and its key: LMDB detects no rot. Promises: a transaction is on flash when
`commit` returns. Caveat: LMDB maps its file, so it is kept to a few pages; records never go into it. A mapped page
that the device cannot give kills a process, a read that fails does not: before LMDB is used the file is read.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import numpy as np

from ._storage import crc32c
from .errors import StoreDamaged, StoreError, StoreFull, StoreLocked
from .index_check import STAMP, unsound
from .whole import OWN, make_folder

_ENTRY = struct.Struct("<QIQI")
_COMMIT = struct.Struct("<qqQIQIQQQIBI")
_PAGES_PER_COMMIT = 5  # root, leaf, free list, meta: what one small transaction writes
_MOST_NUMBER = 2**62  # ids, positions and bytes written
_MAP_BYTES, _MOST_BYTES = 8 << 20, 1 << 30
_OF_THE_FILE = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
_KINDS = (b"c", b"s", b"i", b"w", b"m", STAMP)  # commit, segment, its ids, wear, a value of the caller's, transaction


@dataclass
class Entry:
    """A full segment: first id, number of records, where they end in the file, header checksum.

    rel: ids relative to the first, of a compacted segment, until they stand in the index: should the file's end be
    lost, they say whose records went with it.
    """

    first_id: int
    count: int
    end: int
    seed: int
    rel: np.ndarray | None = None


@dataclass
class Commit:
    """What was sound when it was written: everything before these positions is on flash and in order."""

    next_id: int = 0  # of the view: behind ``physical_next`` while a resumed run catches up
    physical_next: int = 0
    tail_first: int = 0
    tail_no: int = 0
    tail_end: int = 0
    field_no: int = 0
    field_end: int = 0
    bytes_written: int = 0
    payload_written: int = 0
    field_epoch: int = 0
    pinned: bool = False
    view_classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    view_first: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def pack(self) -> bytes:
        head = _COMMIT.pack(
            self.next_id,
            self.physical_next,
            self.tail_first,
            self.tail_no,
            self.tail_end,
            self.field_no,
            self.field_end,
            self.bytes_written,
            self.payload_written,
            self.field_epoch,
            self.pinned,
            len(self.view_classes),
        )
        return head + self.view_classes.astype("<i4").tobytes() + self.view_first.astype("<i8").tobytes()

    @staticmethod
    def unpack(raw: bytes) -> Commit:
        head = _COMMIT.unpack_from(raw)
        n, at = head[-1], _COMMIT.size
        commit = Commit(*head[:-2])
        commit.pinned = bool(head[-2])
        if max(head[:-2]) > _MOST_NUMBER:
            raise ValueError("a number of the commit point is out of bounds")
        commit.view_classes = np.frombuffer(raw, "<i4", n, at).astype(np.int32)
        commit.view_first = np.frombuffer(raw, "<i8", n, at + 4 * n).astype(np.int64)
        return commit


def _seal(key: bytes, value: bytes) -> bytes:
    return value + struct.pack("<I", crc32c(key + value))


def _open_seal(key: bytes, value: bytes) -> bytes | None:
    body = value[:-4]
    if len(value) < 4:
        return None
    crc = struct.unpack("<I", value[-4:])[0]
    return body if crc in (crc32c(key + body), crc32c(body)) else None  # the second: as it was written before


def _bits(rel: np.ndarray) -> bytes:
    there = np.zeros(int(rel[-1]) + 1 if len(rel) else 0, bool)
    there[rel] = True
    return zlib.compress(np.packbits(there).tobytes(), 1)


class IndexDamaged(StoreDamaged):
    """What is in the index's file is no index; the segments tell it again."""


class IndexFile:
    """The index of a store. Values with a wrong checksum count as absent (``damaged`` says how many)."""

    def __init__(self, directory: Path, read_only: bool) -> None:
        self.path = directory / "index"
        self.damaged = 0
        self.wear: bytes | None = None  # packed `WriteMeter`
        if reason := unsound(self.path / "data.mdb"):
            raise IndexDamaged(f"The index '{self.path}' is damaged ({reason}).", "It can be rebuilt.")
        if not read_only:
            make_folder(self.path)
        try:
            self._env = lmdb.open(
                str(self.path),
                mode=OWN,
                map_size=_MAP_BYTES,
                subdir=True,
                readonly=read_only,
                create=not read_only,
                max_dbs=0,
                max_readers=64,
                readahead=False,
                meminit=True,  # else what freed memory held, samples too, goes to flash in unused parts of pages
            )
        except lmdb.Error as error:
            if "already open" in str(error):
                raise StoreLocked(
                    f"'{directory}' is already open in this process.", "Close the other handle."
                ) from error
            raise self._failed(error, "cannot be opened") from error
        try:
            self._fd = os.open(self.path / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
            self._size = os.fstat(self._fd).st_size
        except BaseException:
            self._env.close()
            raise

    def _failed(self, error: lmdb.Error, what: str) -> StoreDamaged:
        """Damage of the file, which is rebuilt, or a device that fails, which is not."""
        text = f"The index '{self.path}' {what}: {error}."
        if isinstance(error, _OF_THE_FILE):
            return IndexDamaged(text, "It can be rebuilt.")
        return StoreDamaged(text, "Check the device (dmesg) and its file system.")

    def _bring(self) -> None:
        """Brings the pages of the file into memory, or fails as a read does."""
        at = 0
        while part := os.pread(self._fd, 1 << 20, at):
            at += len(part)
        if at < self._size:
            raise StoreDamaged(f"The index '{self.path}' was cut off while it was open.", "Open the store again.")

    @property
    def size(self) -> int:
        """Bytes of the index on flash."""
        return (self.path / "data.mdb").stat().st_size

    def load(self) -> tuple[Commit | None, dict[int, Entry]]:
        """The commit point and the entries by segment number."""
        commit, entries = None, {}
        self._bring()
        try:
            with self._env.begin() as txn:
                for key, value in txn.cursor():
                    body = _open_seal(key, value)
                    if body is None or key[:1] not in _KINDS:
                        self.damaged += 1
                    elif key == b"w":
                        self.wear = body
                    elif key == b"c":
                        commit = Commit.unpack(body)
                    elif key[:1] == b"s":
                        entries[struct.unpack(">I", key[1:])[0]] = Entry(*_ENTRY.unpack(body))
        except lmdb.Error as error:
            raise self._failed(error, "cannot be read") from error
        except (struct.error, ValueError) as error:
            raise IndexDamaged(f"The index '{self.path}' is damaged: {error}.", "It can be rebuilt.") from error
        return commit, entries

    def commit(
        self,
        commit: Commit | None = None,
        put: Mapping[int, Entry] | None = None,
        drop: Iterable[int] = (),
        meta: Mapping[str, bytes | None] | None = None,
        wear: bytes | None = None,
    ) -> int:
        """One atomic transaction, on flash when it returns; the bytes it wrote (estimated from LMDB's
        pages).
        """
        extra = 0
        self._bring()
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for no in drop:
                        txn.delete(b"s" + struct.pack(">I", no))
                        txn.delete(b"i" + struct.pack(">I", no))
                    for no, entry in (put or {}).items():
                        value = _ENTRY.pack(entry.first_id, entry.count, entry.end, entry.seed)
                        key = b"s" + struct.pack(">I", no)
                        txn.put(key, _seal(key, value))
                        if entry.rel is not None:
                            bits, key = _bits(entry.rel), b"i" + key[1:]
                            txn.put(key, _seal(key, bits))
                            extra += len(bits)
                    for name, value_or_none in (meta or {}).items():
                        key = b"m" + name.encode()
                        if value_or_none is None:
                            txn.delete(key)
                        else:
                            txn.put(key, _seal(key, value_or_none))
                            extra += len(value_or_none)
                    if wear is not None:
                        txn.put(b"w", _seal(b"w", wear))
                    if commit is not None:
                        txn.put(b"c", _seal(b"c", commit.pack()))
                    txn.put(STAMP, _seal(STAMP, struct.pack("<Q", txn.id())))
                break
            except lmdb.MapFullError:
                size = self._env.info()["map_size"] * 2
                if size > _MOST_BYTES:
                    what = f"The index reached {_MOST_BYTES >> 20} MB."
                    full = StoreFull(what, "Store less in meta values.")
                    full.unchanged = True
                    raise full from None
                self._env.set_mapsize(size)
            except lmdb.Error as error:
                if isinstance(error, lmdb.DiskError) or self._crowded(extra):  # LMDB calls a short write an I/O error
                    what = f"The index cannot be written: {error}."
                    raise StoreFull(what, "Free some space on the device.") from error
                raise StoreError(f"The index cannot be written: {error}.", "Check the device.") from error
        self._size = os.fstat(self._fd).st_size
        for entry in (put or {}).values():
            entry.rel = None
        return _PAGES_PER_COMMIT * 4096 + extra

    def _crowded(self, more: int) -> bool:
        """Whether the device has no room for a transaction of ``more`` bytes."""
        free = os.statvfs(self.path)
        return free.f_bavail * free.f_frsize < more + 16 * 4096

    def meta(self, name: str) -> bytes | None:
        """A value set by the caller; None when absent or damaged."""
        key = b"m" + name.encode()
        self._bring()
        with self._env.begin() as txn:
            value = txn.get(key)
        return None if value is None else _open_seal(key, value)

    def ids_of(self, no: int) -> np.ndarray | None:
        """Ids of a compacted segment, relative to its first (uint32); None: nothing is known."""
        key = b"i" + struct.pack(">I", no)
        self._bring()
        with self._env.begin() as txn:
            value = txn.get(key)
        bits = None if value is None else _open_seal(key, value)
        if bits is None:
            return None
        return np.flatnonzero(np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8))).astype(np.uint32)

    def values(self) -> dict[str, bytes]:
        """All values set by the caller."""
        self._bring()
        with self._env.begin() as txn:
            found = {k[1:].decode(): _open_seal(k, v) for k, v in txn.cursor() if k[:1] == b"m"}
        return {k: v for k, v in found.items() if v is not None}

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            self._env.close()
