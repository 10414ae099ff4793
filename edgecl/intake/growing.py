"""GrowingArray: rows come at its end and go at its beginning."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


class GrowingArray:
    """An array that grows at its end and shrinks at its beginning at a cost that does not depend on its length, on
    average. Only the latest of what `appended` and `without_first` made may be added to; the values of all stay as
    they are.
    """

    def __init__(self, values: Array, held: Array | None = None, end: int | None = None) -> None:
        self.values = values
        self._held = values if held is None else held  # what ``values`` is a part of, with a reserve behind it
        self._end = len(values) if end is None else end  # of ``values`` within ``_held``

    def appended(self, rows: Array) -> GrowingArray:
        size, held, end = len(self.values) + len(rows), self._held, self._end
        if end + len(rows) > len(held):  # untouched pages of the reserve take no RAM
            held, end = np.empty((size + size // 8 + 8, *self.values.shape[1:]), self.values.dtype), len(self.values)
            held[:end] = self.values
        end += len(rows)
        held[end - len(rows) : end] = rows
        return GrowingArray(held[end - size : end], held, end)

    def without_first(self, count: int) -> GrowingArray:
        return GrowingArray(self.values[count:], self._held, self._end)

    def wipe(self) -> None:
        """Zeros over all that stands in it, dropped rows too."""
        self._held[: self._end] = 0
