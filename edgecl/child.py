"""Python in a fresh process image that finds the same packages as this one."""

from __future__ import annotations

import json
import sys

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from importlib import import_module; sys.exit(import_module(sys.argv.pop(1)).main())"
)


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that calls ``main()`` of ``module`` with ``arguments`` in sys.argv[1:].

    The search path is handed over: ``-m`` and ``-c`` alone would look into the working folder first, where a
        source
    tree without its compiled parts may lie.
    """
    return [sys.executable, "-c", _START, json.dumps(sys.path), module, *arguments]
