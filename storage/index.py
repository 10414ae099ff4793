"""The LMDB side of the store: one entry per full segment, the commit point and the caller's small values.

Every value carries its own checksum: LMDB detects no rot. Promises: a transaction is on flash when `commit`
returns. Caveat: LMDB maps its file, so it is kept to a few pages; records never go into it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import numpy as np

from ._storage import crc32c
from .errors import StoreDamaged, StoreError, StoreFull, StoreLocked
from .index_check import unsound

_ENTRY = struct.Struct("<QIQI")
_COMMIT = struct.Struct("<qqQIQIQQQIBI")
_PAGES_PER_COMMIT = 5  # root, leaf, free list, meta: what one small transaction writes
_MAP_BYTES = 8 << 20


@dataclass
class Entry:
    """A full segment: first id, number of records, where they end in the file, header checksum."""

    first_id: int
    count: int
    end: int
    seed: int


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
        commit.view_classes = np.frombuffer(raw, "<i4", n, at).astype(np.int32)
        commit.view_first = np.frombuffer(raw, "<i8", n, at + 4 * n).astype(np.int64)
        return commit


def _seal(value: bytes) -> bytes:
    return value + struct.pack("<I", crc32c(value))


def _open_seal(value: bytes) -> bytes | None:
    body = value[:-4]
    return body if len(value) >= 4 and struct.unpack("<I", value[-4:])[0] == crc32c(body) else None


class IndexFile:
    """The index of a store. Values with a wrong checksum count as absent (``damaged`` says how many)."""

    def __init__(self, directory: Path, read_only: bool) -> None:
        self.path = directory / "index"
        self.damaged = 0
        self.commits = 0
        self.wear: bytes | None = None  # packed `WriteMeter`
        if reason := unsound(self.path / "data.mdb"):
            raise StoreDamaged(f"The index '{self.path}' is damaged ({reason}).", "It can be rebuilt.")
        try:
            self._env = lmdb.open(
                str(self.path),
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
            raise StoreDamaged(f"The index '{self.path}' cannot be opened: {error}.", "It can be rebuilt.") from error

    @property
    def size(self) -> int:
        """Bytes of the index on flash."""
        return (self.path / "data.mdb").stat().st_size

    def load(self) -> tuple[Commit | None, dict[int, Entry]]:
        """The commit point and the entries by segment number."""
        commit, entries = None, {}
        try:
            with self._env.begin() as txn:
                for key, value in txn.cursor():
                    if key[:1] not in (b"c", b"s", b"w"):
                        continue
                    body = _open_seal(value)
                    if body is None:
                        self.damaged += 1
                    elif key[:1] == b"w":
                        self.wear = body
                    elif key[:1] == b"c":
                        commit = Commit.unpack(body)
                    else:
                        entries[struct.unpack(">I", key[1:])[0]] = Entry(*_ENTRY.unpack(body))
        except (lmdb.Error, struct.error, ValueError) as error:
            raise StoreDamaged(f"The index '{self.path}' is damaged: {error}.", "It can be rebuilt.") from error
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
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for no in drop:
                        txn.delete(b"s" + struct.pack(">I", no))
                    for no, entry in (put or {}).items():
                        value = _ENTRY.pack(entry.first_id, entry.count, entry.end, entry.seed)
                        txn.put(b"s" + struct.pack(">I", no), _seal(value))
                    for name, value_or_none in (meta or {}).items():
                        key = b"m" + name.encode()
                        if value_or_none is None:
                            txn.delete(key)
                        else:
                            txn.put(key, _seal(value_or_none))
                            extra += len(value_or_none)
                    if wear is not None:
                        txn.put(b"w", _seal(wear))
                    if commit is not None:
                        txn.put(b"c", _seal(commit.pack()))
                break
            except lmdb.MapFullError:
                size = self._env.info()["map_size"] * 2
                if size > 1 << 30:
                    raise StoreFull("The index reached 1 GB.", "Store less in meta values.") from None
                self._env.set_mapsize(size)
            except lmdb.DiskError as error:
                raise StoreFull(f"The index cannot be written: {error}.", "Free some space on the device.") from error
            except lmdb.Error as error:
                raise StoreError(f"The index cannot be written: {error}.", "Check the device.") from error
        self.commits += 1
        return _PAGES_PER_COMMIT * 4096 + extra

    def meta(self, name: str) -> bytes | None:
        """A value set by the caller; None when absent or damaged."""
        with self._env.begin() as txn:
            value = txn.get(b"m" + name.encode())
        return None if value is None else _open_seal(value)

    def close(self) -> None:
        self._env.close()
