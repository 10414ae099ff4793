"""Memory slots as what a method replays, and as the data of a phase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..methods import Draw
from ..storage import EpisodicMemory

Array = np.ndarray


def gather(memory: EpisodicMemory, slots: Array, augment: Callable[[Array], Array] | None = None) -> Draw:
    """The samples of ``slots`` with their fields; ``augment`` changes the samples, not the memory."""
    got = memory.gather(slots)
    return Draw(
        slots=slots,
        x=got["samples"] if augment is None else augment(got["samples"]),
        y=got["classes"].astype(np.int64),
        fields={name: (values, got["widths"][name]) for name, values in got["fields"].items()},
    )


class MemoryData:
    """`TaskData` over the filled slots of a memory, as they were when it was made.

    slots : int64 [n]
    """

    subjects: Array | None = None

    def __init__(self, memory: EpisodicMemory, slots: Array | None = None) -> None:
        self.memory = memory
        self.slots = np.flatnonzero(memory.classes >= 0) if slots is None else np.asarray(slots, np.int64)

    @property
    def labels(self) -> Array:
        """Head units; -1 where a slot was emptied meanwhile."""
        return self.memory.classes[self.slots].astype(np.int64)

    @property
    def ids(self) -> Array:
        return self.memory.ids[self.slots]

    def read(self, positions: Array) -> Array:
        return self.memory.gather(self.slots[positions])["samples"]

    def expect(self, positions: Array) -> None:
        """All of it is in RAM."""
