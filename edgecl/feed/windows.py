"""Windows: the last values of a signal as one sample."""

from __future__ import annotations

import numpy as np

from .base import RAW, Frame, Taken

Array = np.ndarray


class Windows:
    """The last T values of C channels; the oldest go.

    taken : samples of shape (C, 1, T), float32 or int16
    """

    def __init__(self, taken: Taken) -> None:
        channels, _, length = taken.shape
        self._last = np.zeros((channels, length), np.float32)
        self._taken, self._came, self._fresh = taken, 0, False

    def push(self, values: Array) -> None:
        """Values float32 [n, C], in the order in which they came."""
        length = self._last.shape[1]
        rows = values[-length:].T
        count = rows.shape[1]
        if count:
            self._last[:, : length - count] = self._last[:, count:].copy()
            self._last[:, length - count :] = rows
            self._came, self._fresh = min(length, self._came + count), True

    @property
    def ready(self) -> bool:
        """Whether it is full, and something came since it was last sent."""
        return self._fresh and self._came == self._last.shape[1]

    def frame(self) -> Frame:
        """The window as raw bytes."""
        self._fresh = False
        window = self._last
        if self._taken.dtype == "int16":
            window = np.clip(np.rint(window), -32768, 32767).astype(np.int16)
        return Frame(window.astype(window.dtype.newbyteorder("<"), copy=False).tobytes(), RAW)
