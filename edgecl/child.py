"""Python in a fresh process image that finds the same packages as this one."""

from __future__ import annotations

import json
import sys

# Ctrl-C while modules are imported ends the process at once: a traceback from the midst of numpy tells nobody anything.
_START = """
import json, signal, sys
usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if usual:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
sys.path[:] = json.loads(sys.argv.pop(1))
from importlib import import_module
main = import_module(sys.argv.pop(1)).main
if usual:
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that calls ``main()`` of ``module`` with ``arguments`` in sys.argv[1:].

    The search path is handed over: ``-m`` and ``-c`` alone would look into the working folder first, where a
        source
    tree without its compiled parts may lie.
    """
    return [sys.executable, "-c", _START, json.dumps(sys.path), module, *arguments]
