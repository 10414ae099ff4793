"""The carousel: slots of the episodic memory are exchanged with samples of the same class from the store.

Promises. A swap asked for at step s takes effect at the start of step s + latency, in the order asked;
which record comes in is drawn from the caller's generator when it is asked for. Sample, label, id, subject
and fields of a slot move together. The class histogram of the memory never changes. A damaged record never
enters. ``exact`` waits for a swap that is not ready (counted as stall); ``live`` drops it and logs (step,
slot, reason).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _storage
from .errors import BadRecord, StoreClosed, UseAfterFork
from .memory import EpisodicMemory
from .store import SampleStore

TRIES = 4  # draws per swap before the rest of the class is searched for a sample that is not in memory
REASONS = {1: "late", 2: "damaged", 3: "slot changed", 4: "evicted"}
_SAVED = ("due", "slot", "id", "version", "time", "cls", "subject", "ready", "bytes", "field_bytes")


class Carousel:
    """Exchanges slots of ``memory`` with records of ``store``.

    latency: steps between request and exchange (>= 1). queue: swaps that may be on their way. movers:
    threads that read, at priority ``nice``. queue x `stage_bytes` is the most it adds to the resident set
    (`bytes`).
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
        self.log: list[tuple[int, int, str]] = []
        self.counters: dict[str, int | float] = {
            "swaps_requested": 0,
            "swaps_done": 0,
            "swaps_dropped": 0,
            "swaps_skipped": 0,
            "stall_seconds": 0.0,
            "bytes_read": 0,
        }
        fields = [spec.bytes for spec in store.schema.fields.values()]
        self._mover = _storage.Mover(store._index, fields, queue, movers, nice)
        self._pid = os.getpid()
        self._closed = False
        self._generation = -1
        self._slots: Any = None

    @property
    def bytes(self) -> int:
        """The most RAM the staging buffers take."""
        return self.queue * self._mover.stage_bytes

    @property
    def pending(self) -> int:
        """Swaps on their way."""
        return self._mover.pending

    def _arrays(self) -> Any:
        """The memory's arrays as the mover sees them, made again when the memory replaced one."""
        m = self.memory
        for name in m.fields:
            if self.store._widest[name] > m.fields[name].shape[1]:
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
                rows, m.classes, m.ids, m.subjects, m.versions, fields, self.store.schema.sample_bytes
            )
            self._generation = m.generation
        return self._slots

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise UseAfterFork(
                "The carousel was used in a fork of its process.", "Make it in the process that uses it."
            )
        if self._closed:
            raise StoreClosed("The carousel is closed.", "Make another one.")

    def request(self, step: int, slots: Any, rng: np.random.Generator) -> int:
        """Asks for an exchange of ``slots`` at the start of step + latency; how many were accepted.

        The incoming id is uniform among the live samples of the slot's class that are neither in memory nor
        on their way. A slot that is empty, already waiting for a swap, or whose class has no other sample
        is skipped. The generator advances by the same amount whatever happens.
        """
        self._check()
        which = np.ascontiguousarray(slots, np.int64)
        if not len(which):
            return 0
        candidates = rng.integers(0, 2**64, (TRIES, len(which)), np.uint64)
        accepted, skipped, full = self._mover.request(step + self.latency, which, candidates, self._arrays())
        count = self.counters
        count["swaps_requested"] += accepted + full
        count["swaps_dropped"] += full
        count["swaps_skipped"] += skipped
        if full:
            self.log.append((step, -1, f"queue full: {full}"))
        return accepted

    def begin_step(self, step: int) -> int:
        """Carries out the exchanges due at ``step``; how many were done. Call before drawing from the
        memory.
        """
        self._check()
        done, lost, stall, read = self._mover.begin(step, self.mode == "exact", self._arrays())
        count = self.counters
        count["swaps_done"] += done
        count["swaps_dropped"] += len(lost)
        count["stall_seconds"] += stall
        count["bytes_read"] += read
        for slot, id_, reason in lost:
            self.log.append((step, slot, REASONS[reason]))
            if reason == 2:
                self.store._found_damaged(id_)
        return done

    def drop_pending(self) -> int:
        """Forgets the swaps on their way (a task boundary); how many."""
        self._check()
        n = self._mover.drop_pending()
        self.counters["swaps_dropped"] += n
        return n

    def trim(self) -> int:
        """Gives the pages of idle staging buffers back to the system; how many bytes. Changes no swap."""
        self._check()
        return int(self._mover.trim())

    def state(self) -> dict[str, Any]:
        """Swaps on their way with the bytes they bring, counters and log length, for a checkpoint."""
        self._check()
        saved = self._mover.save()
        saved["counters"] = np.array([float(v) for v in self.counters.values()])
        return saved

    def load(self, state: Mapping[str, Any]) -> None:
        """Continues from a `state`: in exact mode the same bits as never having stopped."""
        self._check()
        self._mover.load(*(np.ascontiguousarray(state[k]) for k in _SAVED), len(self.store.schema.fields))
        for name, value in zip(self.counters, state["counters"]):
            self.counters[name] = float(value) if name == "stall_seconds" else int(value)
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
