"""LogitRefresh: stored logits made by an older network are renewed when a sample comes back from flash."""

from __future__ import annotations

import numpy as np

from ..storage import EpisodicMemory, SampleStore

Array = np.ndarray


class LogitRefresh:
    """A sample that was exchanged into the memory gets the present network's logits at its first replay, in the
    memory and, while the day's flash writes allow it, in the store (`algorithms.md` 8.4; about 40 bytes a swap).
    """

    def __init__(self, memory: EpisodicMemory, store: SampleStore) -> None:
        self.memory, self.store = memory, store
        self._before = memory.ids
        self._came = np.full(memory.slots, -1, np.int64)  # version of a slot whose sample came from flash, or -1

    def before_swaps(self) -> None:
        self._before = self.memory.ids.copy()
        if len(self._came) != self.memory.slots:  # resized: which slot is which is not known
            self._came = np.full(self.memory.slots, -1, np.int64)

    def after_swaps(self) -> None:
        changed = np.flatnonzero(self.memory.ids != self._before)
        self._came[changed] = self.memory.versions[changed]

    def renew(self, slots: Array, logits: Array) -> int:
        """After a replay of ``slots`` [R] with the field's values float16 [R, W] to store; how many were new."""
        new = np.flatnonzero(self._came[slots] == self.memory.versions[slots])
        if not new.size:
            return 0
        where = slots[new]
        self.memory.update_field(where, "logits", logits[new])
        self.store.update_field("logits", self.memory.ids[where], logits[new], optional=True)
        self._came[where] = -1
        return int(new.size)

    def state(self) -> Array:
        return self._came.copy()

    def load(self, state: Array) -> None:
        """Continue from `state`, over the memory as it was then."""
        self._came = np.array(state, np.int64)
