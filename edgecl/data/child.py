"""Fetching and converting run in a child process.

Their memory never counts as the learner's, and foreign files are parsed where a fault cannot reach it.
A function becomes a job by the decorator `job`; the child imports its module by name, so this module imports none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..child import python_command
from ..errors import BadInput, EdgeclError
from .gate import Refused

Job = Callable[..., Path]
_JOBS: dict[str, Job] = {}


def job(function: Job) -> Job:
    """Make ``function`` (JSON values in, the folder it wrote out) one that a child process may run."""
    _JOBS[f"{function.__module__}:{function.__name__}"] = function
    return function


def run_in_child(function: Job, **arguments: Any) -> Path:
    """``function(**arguments)`` in a child; the folder it wrote.

    Errors come back with the cause and remedy they had there, a `Refused` with its facts.
    """
    request = json.dumps({"job": f"{function.__module__}:{function.__name__}", "arguments": arguments})
    done = subprocess.run(
        python_command("edgecl.data.child", request),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeclError(f"Preparing the data failed (status {done.returncode}): {last}", "Report this.") from error
    if "facts" in answer:
        raise Refused(answer["cause"], answer["remedy"], answer["facts"])
    if "cause" in answer:
        raise (BadInput if answer["bad_input"] else EdgeclError)(answer["cause"], answer["remedy"])
    return Path(answer["folder"])


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    name = request["job"]
    import_module(name.partition(":")[0])
    try:
        return {"folder": str(_JOBS[name](**request["arguments"]))}
    except Refused as error:
        return {"cause": error.cause, "remedy": error.remedy, "facts": error.facts}
    except EdgeclError as error:
        return {"cause": error.cause, "remedy": error.remedy, "bad_input": isinstance(error, BadInput)}


def main() -> None:
    """The child's entry: a JSON request as argument, a JSON answer on standard output."""
    print(json.dumps(_serve(json.loads(sys.argv[1]))))
