"""The carousel: slots of the episodic memory are exchanged with samples of the same class from the store.

Promises. A swap asked for at step s takes effect at the start of step s + latency, in the order asked;
which record comes in is drawn from the caller's generator when it is asked for. Sample, label, id, subject
and fields of a slot move together. The class histogram of the memory never changes. A damaged record never
enters. ``exact`` waits for a swap that is not ready (counted as stall); ``live`` drops it and logs (step,
slot, reason), and asks for fewer when too many come late.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _storage, fork
from .backoff import BackOff
from .decisions import DecisionLog
from .errors import BadRecord, StoreClosed, UseAfterFork
from .memory import EpisodicMemory
from .store import SampleStore
from .trusted import counters, swaps

TRIES = 4  # draws per swap before the rest of the class is searched for a sample that is not in memory
REASONS = {1: "late", 2: "damaged", 3: "slot changed", 4: "evicted"}
_COUNTERS = ("swaps_requested", "swaps_done", "swaps_dropped", "swaps_skipped", "stall_seconds", "bytes_read")
_SAVED = ("due", "slot", "id", "version", "time", "cls", "subject", "ready", "bytes", "field_bytes")


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0))


class Carousel:
    """Exchanges slots of ``memory`` with records of ``store``.

    latency: steps between request and exchange (>= 1). queue: swaps that may be on their way. movers:
    threads that read, at priority ``nice``. beside: threads of the training step; when the process has no core
    more than these, what is in the file cache is read by `request` itself. `bytes` is the most it adds to the
    resident set.
    """

    def __init__(
        self,
        store: SampleStore,
        memory: EpisodicMemory,
        latency: int = 2,
        mode: str = "exact",
        queue: int = 256,
        movers: int = 1,
        nice: int = 10,
        beside: int = 1,
    ) -> None:
        if mode not in ("exact", "live"):
            raise BadRecord(f"Carousel mode '{mode}' is unknown.", "Use 'exact' or 'live'.")
        if latency < 1 or queue < 1 or movers < 1:
            raise BadRecord(f"latency {latency}, queue {queue}, movers {movers}.", "Each must be at least 1.")
        if memory.schema.difference(store.schema):
            raise BadRecord(f"Memory and store differ: {memory.schema.difference(store.schema)}.", "Use one schema.")
        self.store = store
        self.memory = memory
        self.latency = latency
        self.mode = mode
        self.threads = movers
        self.queue = queue
        self.log = DecisionLog()
        self.backoff = BackOff() if mode == "live" else None  # timing decides nothing in exact mode
        fields = [spec.bytes for spec in store.schema.fields.values()]
        self._mover = _storage.Mover(store._index, fields, queue, movers, nice, cores() > beside)
        self._born = fork.generation
        self._closed = False
        self._generation = -1
        self._slots: Any = None

    @property
    def bytes(self) -> int:
        """The most RAM the staging buffers take."""
        return int(self._mover.staging_bytes)

    @property
    def counters(self) -> dict[str, int | float]:
        """Swaps requested, done, dropped and skipped, seconds the training thread waited, bytes read."""
        return dict(zip(_COUNTERS, self._mover.counters))

    @property
    def pending(self) -> int:
        """Swaps on their way."""
        return self._mover.pending

    def _arrays(self) -> Any:
        """The memory's arrays as the mover sees them, made again when the memory replaced one."""
        m = self.memory
        for name, values in m.fields.items():
            if self.store._widest[name] > values.shape[1]:
                m.grow_field(name, self.store._widest[name])
        if self._generation != m.generation:
            fields = [
                (
                    a.view(np.uint8).reshape(m.slots, -1) if a.size else np.zeros((m.slots, 0), np.uint8),
                    a.itemsize,
                    m.widths[n],
                )
                for n, a in m.fields.items()
            ]
            rows = m.samples.reshape(m.slots, -1).view(np.uint8)
            self._slots = _storage.Slots(
                rows, m.classes, m.ids, m.subjects, m.versions, m.edits, fields, self.store.schema.sample_bytes
            )
            self._generation = m.generation
        return self._slots

    def _check(self) -> None:
        if fork.generation != self._born:
            raise UseAfterFork(
                "The carousel was used in a fork of its process.", "Make it in the process that uses it."
            )
        if self._closed:
            raise StoreClosed("The carousel is closed.", "Make another one.")

    def request(self, step: int, slots: Any, rng: np.random.Generator) -> int:
        """Asks for an exchange of ``slots`` at the start of step + latency; how many were accepted.

        The incoming id is uniform among the live samples of the slot's class that are neither in memory nor
        on their way. A slot that is empty, already waiting for a swap, or whose class has no other sample
        is skipped. In live mode a back-off may let only a part of the slots through. The generator advances by
        the same amount for every slot let through.
        """
        self._check()
        which = np.ascontiguousarray(slots, np.int64)
        if self.backoff is not None:
            which = self.backoff.admit(step, which)
        if not which.size:
            return 0
        random = rng.bit_generator.capsule
        accepted, full = self._mover.request(step + self.latency, which, TRIES, random, self._arrays())
        if full:
            self.log.append((step, -1, f"queue full: {full}"))
        return int(accepted)

    def begin_step(self, step: int) -> int:
        """Carries out the exchanges due at ``step``; how many were done. Call before drawing from the memory."""
        self._check()
        done, lost = self._mover.begin(step, self.mode == "exact", self._arrays())
        if lost is not None:
            self._log_lost(step, lost)
        if self.backoff is not None and (done or lost):
            decision = self.backoff.settled(done, sum(reason == 1 for _, _, reason in lost or ()))
            if decision is not None:
                self.log.append((step, -1, decision))
        return int(done)

    def _log_lost(self, step: int, lost: list[tuple[int, int, int]]) -> None:
        for slot, id_, reason in lost:
            self.log.append((step, slot, REASONS[reason]))
            if reason == 2:
                self.store._found_damaged(id_)

    def drop_pending(self) -> int:
        """Forgets the swaps on their way (a task boundary); how many."""
        self._check()
        return int(self._mover.drop_pending())

    def forget(self, subject: int, ids: np.ndarray) -> int:
        """Forgets the swaps on their way that bring a sample of ``subject`` or one of ``ids`` and overwrites
        the staging buffers; the other swaps arrive as if nothing had happened. How many were forgotten.
        """
        self._check()
        counters, saved = self._mover.counters, self._mover.save()
        gone = (saved["subject"] == subject) | np.isin(saved["id"], ids)
        self._mover.drop_pending()
        self._mover.wipe()
        self._mover.trim()
        kept = keep_swaps(saved, ~gone)
        self._mover.load(*(kept[k] for k in _SAVED), len(self.store.schema.fields))
        self._mover.counters = counters
        return int(gone.sum())

    def trim(self) -> int:
        """Gives the pages of idle staging buffers back to the system; how many bytes. Changes no swap."""
        self._check()
        return int(self._mover.trim())

    def state(self) -> dict[str, Any]:
        """Swaps on their way with the bytes they bring, counters and log length, for a checkpoint."""
        self._check()
        saved = self._mover.save()
        saved["counters"] = np.array(self._mover.counters, np.float64)
        if self.backoff is not None:
            saved["backoff"] = self.backoff.state()
        return saved

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a `state`: in exact mode the same bits as never having stopped."""
        self._check()
        schema = self.store.schema
        fields = [spec.bytes for spec in schema.fields.values()]
        coming = swaps(state, self.memory.slots, self.store.next_id, schema.sample_bytes, fields)
        counted = counters(state, len(_COUNTERS))
        self._mover.load(*(coming[k] for k in _SAVED), len(fields))
        self._mover.counters = tuple(
            v if n == "stall_seconds" else int(v) for n, v in zip(_COUNTERS, counted)
        )
        if self.backoff is not None and "backoff" in state:
            self.backoff.load(state["backoff"])
        self._generation = -1

    def close(self) -> None:
        """Stops the threads; pending swaps are dropped. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._mover.stop()

    def __enter__(self) -> Carousel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def keep_swaps(state: Mapping[str, Any], keep: np.ndarray) -> dict[str, Any]:
    """A carousel's `state` with only the swaps on their way where ``keep`` [n] is True."""
    n = len(keep)
    kept = {k: np.ascontiguousarray(np.asarray(state[k]).reshape(n, -1)[keep].reshape(-1)) for k in _SAVED if n}
    return {**state, **kept}
