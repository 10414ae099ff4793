"""StreamBuffer: samples that wait to be trained on, task after task; the first in RAM, the rest read from the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import BadInput
from ..storage import ReadAhead, SampleStore
from ..storage.transfer import live_ids
from .order import Order
from .portion import Portion, recounted, saved_sizes, sizes_without
from .reservoir import Reservoir
from .rows import Rows
from .scale import ScaleWatch
from .spec import SampleSpec
from .view import BufferView

Array = np.ndarray


class StreamBuffer:
    """At most ``capacity`` samples in RAM. With a store there may be more: what does not fit comes back from flash
    through a mover, which has ``ahead`` records on their way at most. Without one it refuses more than it holds until
    something was learned; from then on samples that were trained on make room, and where there are too few of these the
    buffer is a reservoir of what came since.

    order : in which the samples of the first portion are visited;  portions : of the task that is trained, and of those
        observed after it; the last one grows
    scale : watches whether samples lie far outside
    Safe to append to from one thread while another trains on a `view`.
    """

    def __init__(
        self,
        spec: SampleSpec,
        capacity: int,
        store: SampleStore | None,
        ahead: int = 64,
        order: Order | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.spec, self.capacity, self.store, self.ahead = spec, capacity, store, ahead
        self.scale = ScaleWatch(None)
        self.order = Order(1) if order is None else order
        self._rng = np.random.default_rng(0) if rng is None else rng
        self.reservoir = Reservoir(self._rng)
        self._lock = threading.RLock()
        self._reader: ReadAhead | None = None  # made with the first view that needs one
        self._view: BufferView | None = None
        self._gone = 0  # samples that had left the store when `drop_lost` last looked
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._stop_reading()
            self.rows = Rows(self.spec)
            self._next, self._begun = 0, False  # begun: something was trained on
            self._joined = 0  # samples of the first portion that are in the order, or were
            self.reservoir.late.clear()
            self.portions = [Portion()]
            self.order.load_waiting(())

    def _stop_reading(self) -> None:
        self._view = None
        if self._reader is not None:
            self._reader.drop()

    @property
    def samples(self) -> Array:
        """Those in RAM, always the first ones; arrays of labels, ids and subjects cover all."""
        return self.rows.samples

    @property
    def labels(self) -> Array:
        return self.rows.labels

    @property
    def ids(self) -> Array:
        return self.rows.ids

    @property
    def fresh(self) -> int:
        """Samples never trained on."""
        return sum(p.fresh for p in self.portions)

    def __len__(self) -> int:
        return len(self.rows)

    # -- samples come

    def room(self, count: int) -> None:
        """Refuse ``count`` more samples when they could be neither kept nor read back."""
        if self.store is not None or len(self) + count <= self.capacity or (self._begun and len(self.portions) == 1):
            return
        raise BadInput(
            f"The stream buffer holds {self.fresh} samples not yet learned; {count} more exceed its {self.capacity}.",
            "Call learn(), give a larger buffer=, or a store= to keep the rest on flash.",
        )

    def fits(self, count: int) -> bool:
        """Whether ``count`` more samples would all be held in RAM."""
        return len(self.samples) == len(self) and len(self) + count <= self.capacity

    def append(self, x: Array, units: Array, ids: Array, subjects: Array | int = -1) -> None:
        """Of the task observed last."""
        self.scale.look(x)
        with self._lock:
            people = np.full(len(x), subjects, np.int32)
            numbers = np.arange(self._next, self._next + len(x), dtype=np.int64)
            self._next += len(x)
            free = len(x) if self.store is not None else max(0, self.capacity - len(self))
            held = max(0, self.capacity - len(self.samples)) if len(self.samples) == len(self) else 0
            self._add(x[: min(held, free)], units[:free], ids[:free], people[:free], numbers[:free])
            for i in range(free, len(x)):
                self.reservoir.offer(self.rows.visited, x[i], int(units[i]), int(people[i]), int(numbers[i]))
                if self._view is None:
                    self._settle()

    def append_stored(self, units: Array, ids: Array, subjects: Array, first: Array) -> None:
        """Records of the store; but for the ``first`` samples they are read when their turn comes."""
        with self._lock:
            numbers = np.arange(self._next, self._next + len(ids), dtype=np.int64)
            self._next += len(ids)
            self._add(first, units, ids, subjects, numbers)

    def _add(self, *rows: Array) -> None:
        """See `Rows.add`."""
        self.rows.add(*rows)
        self.portions[-1].add(rows[1])

    def _settle(self) -> None:
        """Rows that made room while training ran are replaced."""
        if self.reservoir.late:
            self._visit_again(self.reservoir.settle(self.rows, self.portions[0]))

    def _visit_again(self, rows: Array) -> None:
        """Rows that hold something new get their visit in the present order."""
        if self.order.left:
            waiting = self.order.positions[self.order.taken :]
            self.order.join(rows[(rows < self._joined) & ~np.isin(rows, waiting)], self._rng)

    def end_portion(self) -> None:
        """What comes from here on is of the next task."""
        with self._lock:
            self.portions.append(Portion())

    # -- samples leave

    def _keep(self, keep: Array) -> None:
        """Only rows where ``keep`` bool [n] is True stay."""
        sizes = sizes_without((p.count for p in self.portions), keep)
        self.order.keep(keep[: self.portions[0].count])
        self._joined = int(np.count_nonzero(keep[: self._joined]))
        self.rows = self.rows.kept(keep)
        self.portions = recounted(sizes, self.labels, self.rows.visited)

    def take_out(self, gone: Array) -> int:
        """Rows where ``gone`` bool [n] is True leave, those in RAM overwritten; how many. No view made before may be
        used."""
        with self._lock:
            self.release()
            if gone.any():
                if self._reader is not None:
                    self._reader.wipe()
                old = self.rows
                self._keep(~gone)
                old.wipe()
            return int(np.count_nonzero(gone))

    def forget(self, subject: int) -> int:
        """Take out a subject's samples; how many."""
        self.release()  # rows to be replaced are theirs who came
        return self.take_out(self.rows.subjects == subject)

    def remove(self, ids: Array) -> int:
        """Take out the samples ``ids``; how many."""
        return self.take_out(np.isin(self.ids, ids) & (self.ids >= 0))

    def relabel(self, ids: Array, units: Array, again: bool = True) -> Array:
        """Samples ``ids`` [n], ascending, have these head units now. again: they are fresh. bool [n]: those it has."""
        with self._lock:
            self.release()
            rows = np.flatnonzero(np.isin(self.ids, ids) & (self.ids >= 0))
            self.labels[rows] = units[np.searchsorted(ids, self.ids[rows])]
            if again:
                self.rows.visited[rows] = 0
                self._visit_again(rows)
            self.portions = recounted([p.count for p in self.portions], self.labels, self.rows.visited)
            return np.isin(ids, self.ids[rows])

    def drop_lost(self) -> int:
        """Leave out what was evicted from the store, or found damaged, before it came back from flash; how many of
        these were never trained on. No view made before may be used."""
        held = len(self.samples)
        if self.store is None or len(self) == held or self._gone == self.store.next_id - self.store.count:
            return 0
        with self._lock:
            self.release()
            self._gone = self.store.next_id - self.store.count
            kept, fresh = np.ones(len(self), bool), self.fresh
            kept[held:] = np.isin(self.ids[held:], live_ids(self.store))
            if not kept.all():
                self._keep(kept)
            return fresh - self.fresh

    def end_first(self) -> None:
        """The task that was trained is over: its samples leave."""
        with self._lock:
            count, rest = self.portions[0].count, self.portions[1:]
            self.release()
            if not rest or count == len(self):
                self.clear()
                self.portions = rest or [Portion()]
                return
            self._stop_reading()
            self._next -= self.rows.drop_first(count)
            self.portions, self._joined, self._begun = rest, 0, False
            self.order.load_waiting(())

    # -- samples are trained on

    def view(self) -> BufferView:
        """The samples of the first portion so far, as the data of a training call; the view before it must no longer be
        used. Until `release` no row changes."""
        with self._lock:
            self.release()
            count = self.portions[0].count
            if self.store is not None and count > len(self.samples) and self._reader is None:
                self._reader = ReadAhead(self.store, queue=self.ahead)
            self._stop_reading()
            parts = (getattr(self.rows, a)[:count] for a in ("samples", "labels", "ids", "subjects", "numbers"))
            self._view = BufferView(*parts, store=self.store, reader=self._reader, buffer=self)
            return self._view

    def join_new(self, rng: np.random.Generator, count: int) -> None:
        """The first ``count`` samples, of those what came since the order was drawn, get their visit in it."""
        with self._lock:
            if self.order.left:
                self.order.join(np.arange(self._joined, count), rng)
            self._joined = count

    def mark(self, rows: Array, visited: bool = True) -> Array:
        """Note that rows of the first portion were trained on, or not after all; those for which that is new."""
        with self._lock:
            changed = rows[self.rows.visited[rows] != visited]
            self.rows.visited[changed] = visited
            self.portions[0].fresh -= changed.size if visited else -changed.size
            self._begun |= visited
            return changed

    def release(self) -> None:
        """Training pauses."""
        with self._lock:
            self._view = None
            self._settle()

    def shed(self) -> None:
        """Read no longer ahead for the present view. Changes no result."""
        if self._view is not None and self._reader is not None:
            self._view.stop_expecting()
            self._reader.trim()

    def close(self) -> None:
        """Stop the mover; before the store is closed."""
        if self._reader is not None:
            self._reader.close()

    # -- saved state

    def state(self) -> dict[str, Any]:
        with self._lock:
            if self._view is None:
                self._settle()
            return {
                **self.rows.state(),
                "portions": [p.count for p in self.portions],
                "order": self.order.waiting(),
                "joined": self._joined,
                "next": self._next,
                **self.reservoir.state(),
                **self.scale.state(),
                "begun": self._begun,
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or an earlier one."""
        self.clear()
        self.rows.load(state)
        n = len(self)
        self._next = int(state.get("next", n))
        self.reservoir.load(state)
        self.scale.load(state)
        self._begun = bool(state.get("begun", bool(self.rows.visited.any())))
        self.portions = recounted(saved_sizes(state, n), self.labels, self.rows.visited)
        self.order.load_waiting(state.get("order", ()))
        self._joined = int(state.get("joined", self.portions[0].count))
