"""What importing edgecl costs, in instructions (valgrind), this version against another commit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from base import build, environment, revision
from common import arguments, table, write

MODULES = ("edgecl.learner", "edgecl.run")


def instructions(module: str, folder: Path | None) -> int:
    """Executed in a process that imports ``module``, less those of one that imports numpy alone; bytecode is cached."""
    return _count(f"import {module}", folder) - _count("import numpy", folder)


def _count(code: str, folder: Path | None) -> int:
    where = environment(folder)
    where["PYTHONHASHSEED"] = "0"
    command = [sys.executable, "-P", "-W", "ignore", "-c", code]
    subprocess.run(command, env=where, check=True, cwd="/")  # writes the bytecode
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*tool, *command], env=where, capture_output=True, text=True, check=True, cwd="/")
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise SystemExit(f"valgrind counted nothing: {done.stderr[-400:]}")
    return int(found[1])


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--base", metavar="COMMIT", required=True, help="build this commit beside it and compare")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: apt-get install valgrind)")
    folder = build(options.base)
    rows: list[dict[str, Any]] = []
    for module in MODULES[:1] if options.quick else MODULES:
        ours, base = instructions(module, None), instructions(module, folder)
        rows.append(
            {
                "module": module,
                "instructions": ours,
                "base": revision(options.base)[:12],
                "base_instructions": base,
                "ratio": ours / base,
            }
        )
    table(rows)
    write("imports", rows, options.json)


if __name__ == "__main__":
    main()
