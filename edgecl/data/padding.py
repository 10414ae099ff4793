"""Windows that were filled up to one length: told by their silent ends, since a mask is not there."""

from __future__ import annotations

import numpy as np

from ..errors import BadInput

SHORTEST = 0.05  # of a window's steps: a silent end of less is no filling
SHARE = 0.1  # of the windows: fewer with silent ends are no filling


class PaddingWatch:
    """Counts windows that begin or end with zeros in all channels, of different lengths."""

    def __init__(self, steps: int) -> None:
        self.least = max(2, round(SHORTEST * steps))
        self.windows = 0
        self.ends: list[int] = []
        self.starts: list[int] = []

    def look(self, block: np.ndarray) -> None:
        """``block`` [k, C, 1, T]."""
        live = (block != 0).any(axis=(1, 2))
        some = live.any(axis=1)
        self.windows += len(block)
        self.ends += live[some, ::-1].argmax(axis=1).tolist()
        self.starts += live[some].argmax(axis=1).tolist()

    def refuse(self) -> None:
        """BadInput where the silent ends look like filling."""
        for lengths, where in ((self.ends, "end"), (self.starts, "begin")):
            silent = [n for n in lengths if n >= self.least]
            if len(silent) >= max(2, SHARE * self.windows) and len(set(silent)) > 1:
                raise BadInput(
                    f"{len(silent)} of {self.windows} windows {where} with zeros in all channels, {min(silent)} to "
                    f"{max(silent)} steps long: series filled up to one length, without a mask.",
                    "Give the series as they are, one .npy file each in a folder of its class: they are cut into "
                    "windows, or resampled with --window whole.",
                )
