"""What every part of the store shares: its state, its guards and the commit point."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _storage, fork
from .codecs import Codec
from .errors import BadRecord, ReadOnly, StoreClosed, StoreDamaged, UseAfterFork, WriteBudgetSpent
from .files import Lock, Writer, as_typed, segment_name, typed
from .index import Commit, Entry, IndexFile
from .jsonfile import read_json, write_json
from .keys import RootKey
from .layout import Description
from .recovery import Table
from .schema import StreamSchema
from .sealing import Sealing
from .ticket import Flusher
from .wear import WriteMeter

if TYPE_CHECKING:
    from .cleaning import Cleaner


VALUES = "values.json"  # beside the index
CHANGES_END = -3  # in the view of a commit: the "class" whose value is how far the log of changes had been written
DAMAGED, UNREAD = 2, 5  # what native reading says of a record
UNREAD_REASON = "the device did not give it"


@dataclass(frozen=True)
class DamagedRecord:
    """One damaged place: the id it belonged to (None for a field record), file, byte offset and reason."""

    id: int | None
    file: str
    offset: int
    reason: str


class StoreCore:
    """State of an open store. Everything that changes it holds ``_lock``."""

    path: Path
    schema: StreamSchema
    read_only: bool
    durability: str
    limit_bytes: int | None
    eviction: str
    eviction_seed: int
    capacity: int  # most live samples
    _process_bytes: int | None
    rebuilt: bool  # the index was made again from the segments
    wear: WriteMeter  # bytes written and the daily budget

    _pid: int
    _born: int  # forks before it was opened
    _closed: bool
    _lock: threading.RLock  # type: ignore[valid-type]
    _lockfile: Lock | None
    _flusher: Flusher | None
    _cleaner: Cleaner
    _directory: Path  # of the segments
    _description: Description
    _names: list[str]  # of the fields; a record names its field by position
    _codec: Codec
    _root: RootKey | None  # of an encrypted store
    _sealing: Sealing | None
    _stride: int  # bytes of a sample record; the most where lengths vary
    _segment_bytes: int
    _most: int  # samples at most, whatever their length
    _usable: int | None  # bytes of the limit that records may take
    _db: IndexFile
    _pending: dict[int, Entry]  # sealed since the last commit point
    _index: _storage.Index
    _entries: dict[int, Entry]
    _files: dict[str, int]  # bytes of every segment and field file
    _damaged: dict[int, DamagedRecord]
    _widest: dict[str, int]  # elements of the widest value of each field
    _pins: deque[tuple[np.ndarray, np.ndarray]]  # views of the two newest checkpoints
    _payload_written: int
    _field_epoch: int
    _unended: set[int]  # subjects whose forgetting the opening could not end
    _unread: set[int]  # segments that the device did not give whole at the opening
    _log_end: int  # of the log of changes
    _last_no: int  # of the newest sample segment
    _last_field: int  # of the newest field file
    _tail: Writer | None  # the segment appended to
    _tail_tables: list[Table]
    _field: Writer | None  # the field file appended to

    def _check(self, write: bool = False) -> None:
        self._here()
        if self._closed:
            raise StoreClosed(f"The store '{self.path}' is closed.", "Open it again.")
        if write:
            if self.read_only:
                raise ReadOnly(f"The store '{self.path}' was opened with read_only=True.", "Open it for writing.")
            assert self._flusher is not None
            self._flusher.check()

    def _refuse(self, cause: str, remedy: str) -> BadRecord:
        self._release()
        return BadRecord(cause, remedy)

    def _afford(self, n: int) -> None:
        """Refuses before anything is written when ``n`` bytes do not fit the daily write budget."""
        if not self.wear.allows(n):
            wait = self.wear.wait_seconds(n)
            raise WriteBudgetSpent(
                f"{self.wear.last_day} of {self.wear.limit} bytes a day are written.",
                "Keep the samples in memory, or raise the daily write budget.",
                wait,
            )

    def _dirty_files(self) -> list[Any]:
        return [f for f in (self._tail, self._field) if f is not None and f.dirty]

    def _commit(
        self,
        put: Mapping[int, Entry] | None = None,
        drop: Sequence[int] = (),
        meta: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Moves the commit point to now: everything appended is on flash, then the index says so. What ``put`` and
        ``drop`` say of segments holds in RAM once the caller says so there, after this.
        """
        assert self._tail is not None and self._flusher is not None
        with self._flusher.lock:
            self._tail.sync()  # a commit point vouches only for what is on flash
        classes, first = self._index.get_view()
        classes, first = np.append(classes, np.int32(CHANGES_END)), np.append(first, np.int64(self._log_end))
        commit = Commit(
            self._index.next_id,
            max(self._index.physical_next, self._tail.header.first_id),
            self._tail.header.first_id,
            self._tail.no,
            self._tail.end,
            self._field.no if self._field else 0,
            self._field.end if self._field else 0,
            self.wear.total,
            self._payload_written,
            self._field_epoch,
            self._index.pinned,
            classes,
            first,
        )
        entries = {no: e for no, e in {**self._pending, **(put or {})}.items() if no not in set(drop)}
        self.wear.add(self._db.commit(commit, entries, drop, meta, self.wear.pack()))
        self._pending.clear()

    def _keep_values(self) -> None:
        """A second copy of the caller's small values, for when the index has to be rebuilt. The index has them: where
        there is no room for the copy, the next opening makes it.
        """
        kept = {name: base64.b64encode(value).decode() for name, value in self._db.values().items()}
        with contextlib.suppress(OSError):
            write_json(self.path / VALUES, kept)

    def _kept_values(self) -> dict[str, bytes]:
        """The second copy; nothing where it is missing or damaged. Raises `OSError` where it cannot be read."""
        try:
            return {str(name): base64.b64decode(text) for name, text in read_json(self.path / VALUES).items()}
        except (FileNotFoundError, ValueError, AttributeError):
            return {}

    @typed
    def flush(self) -> None:
        """Returns when everything appended is on flash."""
        self._check(write=True)
        assert self._flusher is not None
        self._flusher.flush()

    def _give_up(self, error: BaseException) -> BaseException:
        """Nothing is written from here on, since a change that failed may be on flash and not in RAM, or the other way
        round; ``error``, with a type.
        """
        error = as_typed(error, f"The store '{self.path}' failed")
        why = getattr(error, "cause", None) or "it was interrupted"
        if self._flusher is not None:
            self._flusher.give_up(
                StoreDamaged(f"A change of the store '{self.path}' failed: {why}", "Close it and open it again.")
            )
        return error

    def _here(self) -> None:
        """Raises `UseAfterFork` in a fork of the process, where locks may be held by threads that do not exist."""
        if fork.generation != self._born:
            raise UseAfterFork(
                f"The store '{self.path}' was opened in process {self._pid} and used in a fork of it.",
                "Open it in the process that uses it.",
            )

    def _note_damage(self, id_: int, reason: str) -> None:
        no, offset = self._index.where(id_)
        self._damaged[id_] = DamagedRecord(id_, segment_name(no), offset, reason)

    def _take_out(self, id_: int, status: int = DAMAGED) -> None:
        """A damaged record is listed and never asked for again; one that the device did not give stays on flash, and is
        there again at the next opening that can read it.
        """
        self._note_damage(id_, UNREAD_REASON if status == UNREAD else "checksum")
        self._index.remove_id(id_, unread=status == UNREAD)

    @property
    def unreadable(self) -> set[int]:
        """Ids of samples that the device did not give since the store was opened; they may be sound."""
        return {i for i, d in list(self._damaged.items()) if d.reason == UNREAD_REASON}

    @property
    def bytes(self) -> int:
        """Bytes of the store's files on flash."""
        return sum(list(self._files.values())) + self._db.size  # a copy: other threads add and remove files

    def _release(self) -> None:
        """Gives everything back, each part whatever became of the others."""
        if os.getpid() != self._pid:
            return
        with contextlib.ExitStack() as parts:
            if self._lockfile is not None:
                parts.callback(self._lockfile.release)
                self._lockfile = None
            parts.callback(self._release_files)

    def _release_files(self) -> None:
        with contextlib.ExitStack() as parts:
            if getattr(self, "_db", None) is not None:
                parts.callback(self._db.close)
            if getattr(self, "_index", None) is not None:
                parts.callback(self._index.close_files)
            for name in ("_tail", "_field", "_log_writer"):
                writer = getattr(self, name, None)
                if writer is not None:
                    parts.callback(writer.close)
            if self._flusher is not None:
                parts.callback(self._flusher.stop)
