"""What each unit of the build takes to compile, as on a workstation and as on a small board (cmake/memory.cmake).

`python bench/compile_memory.py BUILD --json FILE`: BUILD is a folder that ninja built in, such as build/cp311-...
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
from pathlib import Path
from typing import Any

from common import arguments, write

SMALL = ["--param", "ggc-min-expand=10", "--param", "ggc-min-heapsize=16384"]


def units(build: Path, only: str) -> list[tuple[str, str, list[str]]]:
    """(object, folder, command without launcher, its output thrown away) of every C++ unit that ``only`` finds."""
    listed = subprocess.run(["ninja", "-t", "compdb"], cwd=build, capture_output=True, text=True, check=True).stdout
    found = []
    for entry in json.loads(listed):
        if not entry["file"].endswith(".cpp") or not re.search(only, entry["output"]):
            continue
        words = shlex.split(entry["command"])
        words = words[next(i for i, w in enumerate(words) if w.endswith(("c++", "g++"))) :]
        for flag in ("-o", "-MF"):
            if flag in words:
                words[words.index(flag) + 1] = os.devnull
        name = "/".join(Path(entry["output"]).parts[-2:])
        found.append((name, entry["directory"], words))
    return found


def compiled(command: list[str], folder: str) -> tuple[float, float]:
    """(largest resident MiB, processor seconds) of one compile, by a child that runs nothing else."""
    read, writes = os.pipe()
    if (child := os.fork()) == 0:
        status = subprocess.run(command, cwd=folder, check=False).returncode
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(writes, json.dumps([status, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    status, size, seconds = json.loads(os.read(read, 200))
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return size, seconds


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--only", default="", help="objects that this finds")
    o = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, folder, command in units(o.build.resolve(), o.only):
        for memory, more in (("plenty", []), ("below 1 GB", SMALL)):
            size, seconds = compiled([*command, *more], folder)
            row = {"unit": name, "memory": memory, "peak_mib": round(size), "cpu_seconds": round(seconds, 1)}
            rows.append(row)
            print(row, flush=True)
            if o.json:
                write("compile_memory", [row], o.json, key=("unit", "memory"))


if __name__ == "__main__":
    main()
