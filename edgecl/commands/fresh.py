"""exec_fresh: go on in a fresh image of this process, without the command line's packages."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from ..child import python_command

# glibc gives large blocks back when they are freed. Its default raises the threshold with every block freed,
# so that arrays of a passing need stay resident as holes in the heap, and no plan could tell the peak.
GLIBC_TRIMS_EARLY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def exec_fresh(module: str, job: Mapping[str, Any]) -> NoReturn:
    """Replace this process's image (same process id, terminal and folder) by one that calls ``main()`` of
    ``module`` with ``job`` as JSON in sys.argv[1].

    The command line's own packages take 10 to 15 MB, which a small device would rather give to training.
    """
    sys.stdout.flush()
    command = python_command(module, json.dumps(job))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # the interpreter's start is no time for Ctrl-C
    os.execve(sys.executable, command, {**os.environ, **GLIBC_TRIMS_EARLY})
