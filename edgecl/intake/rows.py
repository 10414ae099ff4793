"""Rows: what a stream buffer holds of each sample, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from .growing import GrowingArray
from .spec import SampleSpec

Array = np.ndarray
COLUMNS = ("samples", "labels", "ids", "subjects", "numbers", "visited")


class Rows:
    """samples : of the first rows only, those in RAM
    labels : int64 head units;  ids : int64 record ids, -1 without one;  subjects : int32, -1 for nobody's
    numbers : int64, a sample's number within its task, which stays when others leave
    visited : uint8, 1 for samples that were trained on
    Arrays grow at their end and shrink at their beginning at a cost that does not depend on their length.
    """

    def __init__(self, spec: SampleSpec) -> None:
        of = (np.zeros((0, *spec.shape), spec.dtype), *(np.zeros(0, t) for t in "qqiqB"))
        self._held = dict(zip(COLUMNS, map(GrowingArray, of)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def samples(self) -> Array:
        return self._held["samples"].values

    @property
    def labels(self) -> Array:
        return self._held["labels"].values

    @property
    def ids(self) -> Array:
        return self._held["ids"].values

    @property
    def subjects(self) -> Array:
        return self._held["subjects"].values

    @property
    def numbers(self) -> Array:
        return self._held["numbers"].values

    @property
    def visited(self) -> Array:
        return self._held["visited"].values

    def add(self, *more: Array) -> None:
        """Samples in RAM, then labels, ids, subjects and numbers of all that come."""
        new = (*more, np.zeros(len(more[1]), np.uint8))
        self._held = {name: self._held[name].appended(a) for name, a in zip(COLUMNS, new)}  # at once, or not at all

    def kept(self, keep: Array) -> Rows:
        """Rows of their own: those where ``keep`` bool [n] is True."""
        new = copy(self)
        new._held = {name: GrowingArray(a.values[keep[: len(a.values)]]) for name, a in self._held.items()}
        return new

    def drop_first(self, count: int) -> int:
        """The first rows leave, the others are numbered from 0; by how much their numbers went down."""
        held = min(count, len(self.samples))
        self._held = {n: a.without_first(held if n == "samples" else count) for n, a in self._held.items()}
        first = int(self.numbers[0])
        self._held["numbers"] = GrowingArray(self.numbers - first)
        return first

    def wipe(self) -> None:
        """Zeros over all samples, those that left too."""
        self._held["samples"].wipe()

    def state(self) -> dict[str, Any]:
        return {name: held.values for name, held in self._held.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or an earlier one, which counted ``learned`` rows from the first."""
        n = len(state["labels"])
        of_old = {
            "subjects": np.full(n, -1, np.int32),
            "numbers": np.arange(n, dtype=np.int64),
            "visited": (np.arange(n) < int(state.get("learned", 0))).astype(np.uint8),
        }
        self._held = {name: GrowingArray(np.array(state.get(name, of_old.get(name)))) for name in COLUMNS}
