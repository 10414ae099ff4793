"""Fetching and converting run in a child process.

Their memory never counts as the learner's, and foreign files are parsed where a fault cannot reach it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ..child import python_command
from ..errors import EdgeclError


def run_in_child(job: str, **arguments: str | None) -> Path:
    """Run 'dataset' (name, source_dir), 'npz' or 'folder' (path, target) in a child; the folder it wrote.

    Errors come back with the cause and remedy they had there.
    """
    request = json.dumps({"job": job, **arguments})
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
    if "cause" in answer:
        raise EdgeclError(answer["cause"], answer["remedy"])
    return Path(answer["folder"])


def _serve(request: dict[str, str | None]) -> dict[str, str]:
    job = request.pop("job")
    try:
        if job == "dataset":
            from .datasets import get_dataset

            source = request["source_dir"]
            folder = get_dataset(str(request["name"]), None if source is None else Path(source))
        else:
            from .user import convert_folder, convert_npz

            convert = convert_npz if job == "npz" else convert_folder
            folder = convert(Path(str(request["path"])), Path(str(request["target"])))
        return {"folder": str(folder)}
    except EdgeclError as error:
        return {"cause": error.cause, "remedy": error.remedy}


def main() -> None:
    """The child's entry: a JSON request as argument, a JSON answer on standard output."""
    print(json.dumps(_serve(json.loads(sys.argv[1]))))
