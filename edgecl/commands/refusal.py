"""How the command line ends when something is wrong: one line of cause, one of remedy, exit status 2."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from errno import ENOSPC
from typing import TextIO

from ..errors import EdgeclError
from ..storage.errors import StoreError


def refuse(cause: str, remedy: str) -> int:
    show(f"error: {' '.join(cause.split())}\n" + (f"  try: {' '.join(remedy.split())}\n" if remedy else ""))
    return 2


def show(text: str) -> None:
    """Text on stderr, if someone still looks."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        drop_output(sys.stderr)


def guarded(work: Callable[[], int]) -> int:
    """The status of ``work()``, with user errors and interruptions turned into messages."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: show(f"warning: {message}\n")
        return _guarded(work)


def _guarded(work: Callable[[], int]) -> int:
    status = 0
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = work()
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a failure still gets a message
        return status
    except (EdgeclError, StoreError) as error:
        return refuse(error.cause, error.remedy)
    except KeyboardInterrupt:
        show("interrupted\n")
        return 130
    except BrokenPipeError:
        drop_output(sys.stdout)
        return status
    except OSError as error:  # a folder that is a file, a read-only or full disk
        return refuse(*about(error))
    except UnicodeEncodeError as error:
        return refuse(f"The name {error.object!r} is not UTF-8.", "Give it another one.")
    except MemoryError:
        return refuse("Memory ran out.", "Give --ram, so that the planner keeps to it, or a smaller batch or model.")


def about(error: OSError) -> tuple[str, str]:
    """Cause and remedy of what the system refused."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output(sys.stdout)
    place = "" if error.filename is None else f"'{os.fsdecode(error.filename)}' cannot be used: "
    remedy = "Free some space." if error.errno == ENOSPC else "Check the path and who may write there."
    return f"{place}{error.strerror or error}.", remedy


def drop_output(stream: TextIO) -> None:
    """What is still to be printed goes nowhere (its reader is gone, its disk full): Python would try again at exit and,
    failing, end with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
