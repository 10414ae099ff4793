"""Read-ahead: records named in advance are brought from flash by a mover while the caller is busy."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from . import _storage, fork
from .errors import BadRecord, StoreClosed, UseAfterFork
from .store import SampleStore


class ReadAhead:
    """Batches of records of ``store``, in the order in which they were named.

    Promises. What a batch holds follows from its ids and the store, never from timing: a record that is not
    there yet is waited for, or read by the caller itself. A damaged record is never served.
    queue: records on their way at most; those beyond it are read when their batch is taken. nice: of the
    thread that reads. queue x `stage_bytes` is the most it adds to the resident set (`bytes`). For one thread
    at a time; the store may be written meanwhile.
    """

    def __init__(self, store: SampleStore, queue: int = 64, nice: int = 10) -> None:
        if queue < 1:
            raise BadRecord(f"queue {queue}.", "It must be at least 1.")
        self.store = store
        self.queue = queue
        self.threads = 1
        self._mover = _storage.Mover(store._index, [], queue, self.threads, nice, True)
        self._batches: deque[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = deque()
        self._number = 0
        self._born = fork.generation
        self._closed = False

    @property
    def bytes(self) -> int:
        """The most RAM the staging buffers take."""
        return int(self._mover.staging_bytes)

    @property
    def pending(self) -> int:
        """Batches named and not yet taken."""
        return len(self._batches)

    def _check(self) -> None:
        if fork.generation != self._born:
            raise UseAfterFork(
                "The read-ahead was used in a fork of its process.", "Make it in the process that uses it."
            )
        if self._closed:
            raise StoreClosed("The read-ahead is closed.", "Make another one.")

    def expect(self, ids: Any, classes: Any) -> None:
        """Names the next batch: ``ids`` [N] with the classes [N] they were stored with. Returns at once."""
        self._check()
        which = np.ascontiguousarray(ids, np.int64)
        labels = np.array(classes, np.int32)
        if which.ndim != 1 or which.shape != labels.shape:
            raise BadRecord(f"{which.size} ids with {labels.size} classes.", "Give one class for each id.")
        self._number += 1
        asked = self._mover.request_ids(self._number, which, labels).astype(bool)
        self._batches.append((self._number, which, labels, asked))

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """The oldest batch named: samples [N, *shape] and ok bool [N], as `SampleStore.read` would give them
        now. A row that is damaged, evicted or unknown is zeros.
        """
        self._check()
        if not self._batches:
            raise BadRecord("No batch was named.", "Call expect() first.")
        number, ids, classes, asked = self._batches.popleft()
        schema, n = self.store.schema, len(ids)
        rows, found = np.zeros((n, schema.sample_bytes), np.uint8), np.full(n, -1, np.int64)
        subjects, versions = np.zeros(n, np.int32), np.zeros(n, np.int64)
        slots = _storage.Slots(rows, classes, found, subjects, versions, np.zeros(1, np.int64), [], schema.sample_bytes)
        for _, id_, reason in self._mover.begin(number, True, slots)[1] or ():
            if reason == 4 or (reason == 2 and not self.store._found_damaged(id_)):
                asked[ids == id_] = False  # it is of another class now, or its file was replaced meanwhile
        ok = found >= 0
        if not asked.all():
            rest = self.store.read(ids[~asked], fields=())
            rows[~asked] = rest["samples"].reshape(len(rest["ids"]), -1).view(np.uint8)
            ok[~asked] = rest["ok"]
        return rows.view(schema.sample_dtype).reshape(n, *schema.sample_shape), ok

    def drop(self) -> None:
        """Forgets the batches named and not taken."""
        self._check()
        self._mover.drop_pending()
        self._batches.clear()

    def wipe(self) -> None:
        """Forgets the batches named and not taken and overwrites the staging buffers."""
        self.drop()
        self._mover.wipe()
        self._mover.trim()

    def trim(self) -> int:
        """Gives the pages of idle staging buffers back to the system; how many bytes."""
        self._check()
        return int(self._mover.trim())

    def close(self) -> None:
        """Stops the thread. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._mover.stop()
            self._batches.clear()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
