"""StopFlag: whether training is to stop after this step."""

from __future__ import annotations

import time
from typing import Protocol

LOOK_SECONDS = 0.05


class Stopping(Protocol):
    """What the watched loop asks after every step: a `StopFlag`, a `threading.Event`."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float) -> bool: ...


class StopFlag:
    """One attribute, set by any thread. A `threading.Event` has a lock of its own, and an interrupt in the middle of
    `set` or `clear` would leave it taken for ever.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        """Sleep for ``timeout`` seconds, less if it is set meanwhile; whether it is."""
        end = time.monotonic() + timeout
        while not self._set and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
        return self._set
