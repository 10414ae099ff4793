"""How the command line ends when something is wrong: one line of cause, one of remedy, exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ..errors import EdgeclError
from ..storage.errors import StoreError


def refuse(cause: str, remedy: str) -> int:
    print(f"error: {' '.join(cause.split())}", file=sys.stderr)
    if remedy:
        print(f"  try: {' '.join(remedy.split())}", file=sys.stderr)
    return 2


def guarded(work: Callable[[], int]) -> int:
    """The status of ``work()``, with user errors and interruptions turned into messages."""
    try:
        return work()
    except (EdgeclError, StoreError) as error:
        return refuse(error.cause, error.remedy)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output is gone
        return 0
    except MemoryError:
        return refuse("Memory ran out.", "Give --ram, so that the planner keeps to it, or a smaller batch or model.")
