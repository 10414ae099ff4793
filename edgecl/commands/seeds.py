"""`edgecl run --seeds 0-4`: the same run with several seeds, each in a process of its own, then compared."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..child import python_command
from ..errors import BadInput
from ..report.compare_page import compare_page
from ..report.groups import group_table, grouped
from ..report.record import read_record
from .show import print_table

MOST = 1000


def parse_seeds(text: str) -> list[int]:
    """``0-4``, ``1,3,5`` or both mixed, each once, in that order. Raises `BadInput`."""
    found: list[int] = []
    for part in text.split(","):
        ends = part.strip().split("-")
        if not all(e.isdecimal() and len(e) < 10 for e in ends) or len(ends) > 2 or int(ends[0]) > int(ends[-1]):
            raise BadInput(f"--seeds is '{text}'.", "Give seeds such as 0-4 or 1,3,5.")
        if int(ends[-1]) - int(ends[0]) >= MOST:
            raise BadInput(f"--seeds {part} are more than {MOST}.", "Give fewer.")
        found += range(int(ends[0]), int(ends[-1]) + 1)
    return list(dict.fromkeys(found))


def run_seeds(seeds: Sequence[int], options: Mapping[str, Any], use: Sequence[str]) -> int:
    """Run them one after another in ``out``/seed-N; a table and a page of all; the exit status."""
    out = options.get("out")
    if out is None:
        raise BadInput("--seeds writes a folder for each seed, and there is none to write to.", "Give --out DIR.")
    if options.get("seed") is not None:
        raise BadInput("--seed and --seeds were both given.", "Drop one.")
    records = []
    for seed in seeds:
        folder = Path(out) / f"seed-{seed}"
        own = {**options, "seed": seed, "out": str(folder)}
        if options.get("store") is not None:
            own["store"] = str(Path(options["store"]) / f"seed-{seed}")
        words = ["run", *(word for item in own.items() for word in as_words(*item))]
        words += [word for file in use for word in ("--use", file)]
        print(shlex.join(["edgecl", *words]), flush=True)
        status = subprocess.run(python_command("edgecl.__main__", *words), check=False).returncode
        if status:
            return status
        records.append((str(folder / "run.json"), read_record(folder / "run.json")))
    groups = grouped(records)
    page = Path(out) / "seeds.html"
    page.write_text(compare_page(groups), encoding="utf-8")
    print_table(*group_table(groups))
    print(f"page: {page}")
    return 0


def as_words(name: str, value: Any) -> list[str]:
    """An option on a command line."""
    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    return [flag] if value is True else [flag, str(value)]
