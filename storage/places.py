"""Where the occupied slots of a memory are: how many of each class, which is the oldest of one, which is free.

Follows from the memory's ``classes`` and ``order``, which whoever changes them announces; nothing here looks at every
slot but the making of it.
"""

from __future__ import annotations

import heapq

import numpy as np

from . import _storage


class Places:
    """counts: occupied slots by class, only classes that have some."""

    def __init__(self, classes: np.ndarray, order: np.ndarray) -> None:
        self._classes, self._order = classes, order
        self._set = _storage.SlotSet(len(classes))
        self.counts: dict[int, int] = {}
        # By class (order, slot), the oldest first, of those that were asked about; stale once its slot was filled anew.
        self._queues: dict[int, list[tuple[int, int]]] = {}
        self.put(np.flatnonzero(classes >= 0))

    @property
    def filled(self) -> int:
        """Occupied slots."""
        return int(self._set.count)

    def leave(self, slots: np.ndarray) -> None:
        """``slots`` [n] are about to be emptied or filled anew."""
        for slot, cls in zip(slots.tolist(), self._classes[slots].tolist()):
            if cls >= 0 and self._classes[slot] >= 0:  # of two mentions of a slot the first counts
                self._classes[slot] = -1
                left = self.counts[cls] - 1
                if left:
                    self.counts[cls] = left
                else:
                    del self.counts[cls]
                    self._queues.pop(cls, None)
        self._set.update(np.ascontiguousarray(slots, np.int64), self._classes[slots])

    def put(self, slots: np.ndarray) -> None:
        """``slots`` [n] were filled; `leave` was called before."""
        where = np.array(sorted(set(slots.tolist())), np.int64) if len(slots) > 1 else slots  # np.unique loads numpy.ma
        classes, order = self._classes[where], self._order[where]
        self._set.update(np.ascontiguousarray(where, np.int64), classes)
        for slot, cls, at in zip(where.tolist(), classes.tolist(), order.tolist()):
            self.counts[cls] = self.counts.get(cls, 0) + 1
            queue = self._queues.get(cls)
            if queue is None:
                continue
            heapq.heappush(queue, (at, slot))
            if len(queue) > 2 * self.counts[cls] + 16:
                self._queues[cls] = sorted({entry for entry in queue if self._holds(cls, entry)})

    def _holds(self, cls: int, entry: tuple[int, int]) -> bool:
        at, slot = entry
        return bool(self._classes[slot] == cls and self._order[slot] == at)

    def free(self) -> int:
        """The first empty slot; -1: there is none."""
        return int(self._set.first_free())

    def oldest(self, cls: int) -> int:
        """The slot of a class that was filled first, of several at once the lowest."""
        queue = self._queues.get(cls)
        if queue is None:
            own = np.flatnonzero(self._classes == cls)
            queue = self._queues[cls] = sorted(zip(self._order[own].tolist(), own.tolist()))
        while not self._holds(cls, queue[0]):
            heapq.heappop(queue)
        return queue[0][1]

    def oldest_of_all(self) -> int:
        """Likewise, whatever its class."""
        return min((int(self._order[s]), s) for s in map(self.oldest, self.counts))[1]

    def draw(self, rng: np.random.Generator, k: int) -> np.ndarray:
        """min(k, filled) occupied slots, uniform without replacement, int64."""
        chosen: np.ndarray = self._set.draw(max(k, 0), rng.bit_generator.capsule)
        return chosen
