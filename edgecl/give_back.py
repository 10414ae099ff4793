"""give_back: RAM that the process holds and nobody uses, returned to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect garbage, then `trim`."""
    gc.collect()
    trim()


def trim() -> None:
    """Let glibc return the free pages of its heap (other C libraries keep theirs)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
