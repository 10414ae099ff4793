"""The RAM plan where the kernel enforces it: the whole demo in control groups of its budget and 8 MB, and a budget that
holds nothing, which is refused before training.

Of each run: what was planned and measured, the group's own highest figure (page cache, kernel memory and Python's start
count there too) and how many processes the kernel killed for memory. Needs root and a memory controller.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import table, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "budget"))
from capped import MB, ROOM, Ended, NoController, capped_run, demo_under_cap, kept

from edgecl.commands import demo

BUDGETS = [64, 96, 128, 256]
REFUSED = 8


def row(name: str, budget: int, ended: Ended, problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run": name, "budget_mb": budget, "cap_bytes": budget * MB + ROOM, "status": ended.status,
        "killed": ended.killed, "group_peak_bytes": ended.peak, "problems": problems,
    }  # fmt: skip
    if ended.record is not None:
        memory = ended.record["memory"]
        found |= {
            "baseline_bytes": memory["baseline_bytes"],
            "planned_peak_rss_bytes": memory["planned_peak_rss_bytes"],
            "measured_peak_rss_bytes": memory["measured_peak_rss_bytes"],
            "accuracy": ended.record["metrics"]["average_accuracy"],
            "slots": ended.record["config"]["memory"],
            "batch": ended.record["config"]["batch"],
        }
    return found


def under_cap(budget: int) -> list[dict[str, Any]]:
    """Both runs of the demo; the demo's own claims are part of the second's problems, those on accuracy from 96 MB on
    (64 MB leave fewer slots)."""
    with tempfile.TemporaryDirectory() as folder:
        ended = demo_under_cap(budget, Path(folder), {})
    problems = {name: kept(budget, run) for name, run in ended.items()}
    naive, sparcl = (run.record for run in ended.values())
    if naive is not None and sparcl is not None:
        claims = list(demo.behaviour(naive, sparcl)) + (list(demo.accuracy(naive, sparcl)) if budget >= 96 else [])
        problems["sparcl"] += [text for text, held in claims if not held]
    return [row(name, budget, run, problems[name]) for name, run in ended.items()]


def refused() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        ended = capped_run(64 * MB, Path(folder), "never", demo.NAIVE, f"{REFUSED}MB")
    as_it_should = ended.status == 2 and not ended.killed and ended.record is None
    found = row("refused at plan time", REFUSED, ended, [] if as_it_should else [ended.said])
    said = [line for line in ended.said.splitlines() if line.strip()]
    return {**found, "cap_bytes": 64 * MB, "said": said}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--budgets", metavar="MB", nargs="*", type=int, default=BUDGETS)
    parser.add_argument("--json", metavar="FILE", help="write the rows, replacing those of the same budgets")
    options = parser.parse_args()
    try:
        rows = [refused()]
        for budget in options.budgets:
            print(f"the demo with {budget} MB, in a group of {budget + ROOM // MB} MB", file=sys.stderr, flush=True)
            rows += under_cap(budget)
    except NoController as why:
        print(f"cannot be tried here: {why}", file=sys.stderr)
        return 2
    table(rows, ("run", "budget_mb", "cap_bytes", "group_peak_bytes", "planned_peak_rss_bytes",
                 "measured_peak_rss_bytes", "killed", "status", "accuracy", "problems"))  # fmt: skip
    write("cap", rows, options.json, key=("run", "budget_mb"))
    return 1 if any(r["problems"] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
