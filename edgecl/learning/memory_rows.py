"""Memory slots as what a method replays, and as the data of a phase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..methods import Draw
from ..storage import Carousel, EpisodicMemory

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


def amend_memory(memory: EpisodicMemory | None, carousel: Carousel | None, ids: Array, units: Array) -> None:
    """Samples ``ids``, ascending, of the store have other head units [n] now, below 0 where they left: in the memory
    they are so too, swaps on their way with what they were are given up."""
    if carousel is not None:
        coming = carousel.state()
        carousel.forget(-2, _other(coming["id"], coming["cls"], ids, units))
    if memory is not None:
        wrong = _other(memory.ids, memory.classes, ids, units)
        memory.relabel(wrong, np.maximum(units[np.searchsorted(ids, wrong)], -1))


def _other(held: Array, classes: Array, ids: Array, units: Array) -> Array:
    """Of record ids ``held`` with their classes, those that have other ``units`` [n] in ``ids`` [n]."""
    if not len(ids):
        return ids
    at = np.minimum(np.searchsorted(ids, held), len(ids) - 1)
    return np.sort(held[(ids[at] == held) & (units[at] != classes) & (classes >= 0)])
