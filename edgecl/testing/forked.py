"""measured: a function's plain result, from a forked child whose memory is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..budget.meters import peak_resident
from ..give_back import give_back


def measured(measure: Callable[[], Any]) -> Any:
    """What ``measure`` returns in a child process (Linux); it must be plain values."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            os.write(write, json.dumps(measure()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not text:
        raise RuntimeError(f"The child that measures memory ended with status {status}.")
    return json.loads(text)


def new_peak() -> int:
    """Free what is free, let the peak begin anew at what is resident now, and return that."""
    give_back()
    Path("/proc/self/clear_refs").write_text("5")
    return peak_resident()
