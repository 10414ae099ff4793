"""What must be closed before Python is taken down."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Any

_OPEN: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # to the process that made it


def close_at_exit(what: Any) -> None:
    """``what.close()`` at the end of this process: a thread that is in a kernel by then would abort it."""
    _OPEN[what] = os.getpid()


@atexit.register
def _close_all() -> None:
    for what, pid in list(_OPEN.items()):
        if pid == os.getpid():  # in a fork the locks may be held by threads that do not exist
            what.close()
