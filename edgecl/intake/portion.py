"""Portion: what a stream buffer holds of one task, counted as samples come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray


class Portion:
    """count : samples;  fresh : of them, those never trained on;  units : samples by head unit"""

    def __init__(self, labels: Array | None = None, visited: Array | None = None) -> None:
        self.count = self.fresh = 0
        self.units: Counter[int] = Counter()
        if labels is not None and visited is not None:
            self.add(labels)
            self.fresh -= int(np.count_nonzero(visited))

    def add(self, labels: Array) -> None:
        """Count fresh samples of these head units [n]."""
        self.count += len(labels)
        self.fresh += len(labels)
        self.units.update(labels.tolist())

    def swap(self, old: int, new: int) -> None:
        """One sample has another head unit now."""
        self.units[new] += 1
        self.units[old] -= 1

    def head_units(self) -> Array:
        """int64, ascending."""
        return np.array(sorted(u for u, n in self.units.items() if n > 0), np.int64)


def recounted(sizes: Iterable[int], labels: Array, visited: Array) -> list[Portion]:
    """Portions of so many samples each, from the rows of all."""
    found, at = [], 0
    for size in sizes:
        found.append(Portion(labels[at : at + size], visited[at : at + size]))
        at += size
    return found


def sizes_without(sizes: Iterable[int], keep: Array) -> list[int]:
    """How many samples of each portion stay, where ``keep`` bool [n] says which."""
    found, at = [], 0
    for size in sizes:
        found.append(int(np.count_nonzero(keep[at : at + size])))
        at += size
    return found


def saved_sizes(state: Mapping[str, Any], rows: int) -> list[int]:
    """Sizes of the portions in a buffer's state; one for all in a state of before there were several."""
    return [int(n) for n in state.get("portions", (rows,))]
