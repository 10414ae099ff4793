"""give_back: RAM that the process holds and nobody uses, returned to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect garbage, then let glibc return free pages of its heap (other C libraries keep theirs)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
