"""The sample store: every sample the device has seen, on flash, readable at random in constant time.

Promises. A sample whose ticket's `wait` returned True survives SIGKILL and power loss. A record whose
checksum is wrong is never served; it is listed by `verify`. Ids are dense and given in order of arrival.
What is evicted depends on the sequence of appended samples alone, and its space is really returned.
Caveats. One process writes (others may read). With ``batched:MS`` up to MS milliseconds of samples are lost
when the power goes (not when the process dies), and more on a card slower than that (`ticket.Flusher`). Without a
root key records are at rest in the clear.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from pathlib import Path
from typing import Any

from . import _storage, fork, replacing
from .checkpoints import Checkpoints
from .codecs import make_codec
from .core import DamagedRecord as DamagedRecord
from .errors import BadRecord, StoreDamaged, StoreError, StoreFull
from .files import changes, typed
from .keys import RootKey, SubjectKeys
from .opening import POLICIES, Opening
from .schema import StreamSchema
from .sealing import Sealing
from .soundness import Soundness
from .ticket import parse_durability
from .wear import WriteMeter, endurance_years, process_bytes_written

_OUT_OF_BOUNDS = (ValueError, OverflowError, TypeError, IndexError, struct.error, MemoryError)


class SampleStore(Opening, Checkpoints, Soundness):
    """Samples of one stream in a directory.

    path: the directory; made if it does not exist. schema: shape, dtype, fields and codec of a sample; None
    takes the one on flash. durability: ``durable`` or ``batched:MS``. limit_bytes, limit_samples: capacity.
    eviction: what goes above it: ``balanced`` (the oldest of the largest class), ``oldest``, or ``reservoir``
    (every sample offered stays with the same probability, drawn from eviction_seed and the ids).
    daily_write_budget: bytes a day (`wear`); beyond it `append` raises `WriteBudgetSpent`. read_only: a reader
    beside the owner, as of the moment of opening. root_key: encrypts every record with its subject's key
    (`keys`; the store is made that way, and needs it from then on). Raises `StoreLocked`, `WrongStream`,
    `WrongKey`, `StoreDamaged`, `ReadOnly`, `MissingCodec`, `StoreError`.
    """

    @typed
    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: StreamSchema | None = None,
        *,
        durability: str = "batched:1000",
        limit_bytes: int | None = None,
        limit_samples: int | None = None,
        read_only: bool = False,
        daily_write_budget: int | None = None,
        eviction: str = "balanced",
        eviction_seed: int = 0,
        root_key: RootKey | None = None,
    ) -> None:
        parse_durability(durability)
        if eviction not in POLICIES:
            raise BadRecord(f"Eviction policy '{eviction}' is unknown.", f"Use one of {', '.join(POLICIES)}.")
        self.eviction, self.eviction_seed = eviction, eviction_seed % 2**64
        self.wear = WriteMeter(daily_write_budget)
        self._process_bytes = process_bytes_written()
        self.path = Path(os.path.abspath(path))  # the process may change its folder
        self.read_only = read_only
        self.durability = durability
        self.limit_bytes = limit_bytes
        self._root = root_key
        self._pid = os.getpid()
        self._born = fork.generation
        self._closed = True
        self._lock = threading.RLock()
        self._lockfile = None
        self._flusher = None
        self._listeners = []
        self._log_writer = None
        self._named = None
        self._directory = self.path / "segments"
        description = self._prepare(schema, limit_bytes, limit_samples)
        self.schema = description.schema
        self._description = description
        self._names = list(self.schema.fields)
        self._codec = description.codec
        self._sealing = None
        self._stride = _storage.RECORD_HEAD + (self._codec.stored or self.schema.sample_bytes + description.seal + 8)
        self._segment_bytes = self._segment_size(limit_bytes, limit_samples)
        self.capacity = self._capacity(limit_bytes, limit_samples)
        try:
            if root_key is not None:
                keys = SubjectKeys(self.path, description.store, root_key, read_only)
                self._sealing = Sealing(keys, self.schema, make_codec(self.schema))
            self._open_calmly(durability)
        except BaseException as error:
            self._release()
            if isinstance(error, _OUT_OF_BOUNDS) and not isinstance(error, StoreError):  # a number no store of ours has
                raise StoreDamaged(f"The store '{self.path}' cannot be used: {error}.", "Restore it.") from error
            raise
        self._closed = False

    @typed
    def stats(self) -> dict[str, Any]:
        """Counts and bytes; ``bytes_written`` and ``payload_written`` cover the store's whole life."""
        self._check()
        return {
            "samples": self.count,
            "next_id": self.next_id,
            "flash_bytes": self.bytes,
            "bytes_written": self.wear.total,
            "payload_written": self._payload_written,
            "write_amplification": self.wear.total / self._payload_written if self._payload_written else None,
            "bytes_written_last_day": self.wear.last_day,
            "daily_write_budget": self.wear.limit,
            "writes_declined": self.wear.declined,
            "process_bytes_written": self._process_bytes_since(),
            "bytes_read": self._index.bytes_read,
            "codec": self.schema.codec,
            "eviction": self.eviction,
            "capacity": self.capacity if self.capacity < 1 << 61 else None,
            "limit_bytes": self.limit_bytes,
            "format": self._description.format,
            "allocated_bytes": self._allocated(),
            "segments": len(self._index.segments()),
            "damaged": len(self._damaged),
            "damaged_fields": self._index.damaged_fields,
            "evicted": self._index.evicted,
            "index_ram_bytes": self._index.bytes,
            "flushes": self._flusher.flushes if self._flusher else 0,
            "per_class": {c: self.count_of(c) for c in self.classes()},
        }

    def _allocated(self) -> int:
        """Bytes of the blocks the files take, as the file system says."""
        total = 0
        for name in list(self._files):  # files come and go meanwhile
            with contextlib.suppress(OSError):  # a reader beside the owner: cleaned meanwhile
                total += (self._directory / name).stat().st_blocks * 512
        return total

    @changes
    def compact(self) -> int:
        """Returns all the space that can be returned: dead segments go, thin ones are merged, superseded field
        values dropped, and what only an older checkpoint still holds is let go. Bytes given back.
        """
        with self._lock:
            return self._cleaner.compact()

    @changes
    def give_way(self) -> None:
        """The store that was built beside this one (`replacing`) takes its place at the next opening: from here on this
        handle takes nothing more, since what it took would be lost then.
        """
        with self._lock:
            replaced = StoreDamaged(f"The store '{self.path}' was replaced by another.", "Close it and open it again.")
            self._give_up(replaced)  # before: whether the other counts is not known while it is said
            replacing.commit(self.path)

    def endurance(
        self, capacity_bytes: float, endurance_cycles: float, write_amplification: float = 1.0
    ) -> dict[str, float]:
        """Years the flash lasts at the last day's rate; arguments are the device profile's figures.

        {"bytes_per_day", "years"}; a store that was written for less than a day forecasts from what it has.
        """
        per_day = float(self.wear.last_day)
        years = endurance_years(per_day, capacity_bytes, endurance_cycles, write_amplification)
        return {"bytes_per_day": per_day, "years": years}

    def _process_bytes_since(self) -> int | None:
        """What this process caused to be sent to devices since the store was opened, by whatever part of it."""
        now = process_bytes_written()
        return None if now is None or self._process_bytes is None else now - self._process_bytes

    @typed
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
                        if self._flusher.sound and not self._dirty_files():
                            self._commit()
        finally:
            self._release()

    def __enter__(self) -> SampleStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
