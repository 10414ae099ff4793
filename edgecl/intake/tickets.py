"""RamTicket: the ticket of samples that are held in RAM only."""

from __future__ import annotations

import numpy as np


class RamTicket:
    """Like a store's ticket, for samples that no store holds.

    ids : int64 [n], -1 where a store would have given one
    """

    in_ram_only = True

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids
        self.done = True

    def wait(self, timeout: float | None = None) -> bool:
        """True at once: nothing more will happen to them."""
        return True
