"""Whether the planner gives up what costs least: its plan under a RAM budget against other plans that fit, by accuracy.

For each stream four budgets. The candidates are what the planner chooses with nothing given, with each batch size given
(slots and the rest give way), with activations in float32 and with half of the slots given. Those that do not fit fall
away, those that come to the same are one, and so do those that hold less than another in every respect: they leave RAM
unused. Each runs with the same seeds; the chosen plan holds where its mean accuracy lies within a point of the best
candidate's. Epochs give a task 250 steps of 32. The bytes of a bare process are assumed, not measured.

    python bench/planner.py --list --json bench/results/planner.json         # the cost, what is there; runs nothing
    python bench/planner.py --json bench/results/planner.json                # the missing runs, the short ones first
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import arguments, table, write

from edgecl.errors import BadInput, InfeasibleBudget
from edgecl.planning.run_plan import prepare

BARE = 52_000_000  # bytes of a process that has imported edgecl, as measured on x86-64
POINT = 0.01
SEEDS = (0, 1, 2)
MOST = 6  # candidates of a budget
STREAMS: dict[str, dict[str, Any]] = {
    "hapt-activities": {"stream": "hapt-activities", "limit_train": 1200, "epochs": 20},
    "keywords": {"stream": "keywords", "limit_tasks": 4, "epochs": 14},
}
BUDGETS = {"hapt-activities": ("66MB", "64MB", "61MB", "59MB"), "keywords": ("61MB", "60MB", "59MB", "58MB")}
GIVEN: tuple[dict[str, Any], ...] = (
    {}, {"batch": 32}, {"batch": 16}, {"batch": 8}, {"batch": 4}, {"activations": "float32"}, {"memory": 250},
)  # fmt: skip
CHOICES = ("batch", "memory", "activations")  # rows of an evaluation change no result
KEY = ("stream", *CHOICES, "seed")
ONE = """
import json, sys
from edgecl.run import run
record = run(json.loads(sys.argv[1]))
print(json.dumps({"accuracy": record["metrics"]["average_accuracy"], "seconds": record["seconds"]["train"]}))
"""
Choice = tuple[Any, ...]


def candidates(stream: str, budget: str) -> dict[Choice, dict[str, Any]]:
    """What each way to plan comes to, the planner's own first: {choices: what was given, steps, FLOPs}."""
    found: dict[Choice, dict[str, Any]] = {}
    for given in GIVEN:
        try:
            plan = prepare({**STREAMS[stream], "ram": budget, **given}, baseline=BARE).plan
        except (BadInput, InfeasibleBudget):
            continue
        choice = tuple(getattr(plan.config, name) for name in CHOICES)
        found.setdefault(choice, {"given": given, "steps": plan.steps, "flops": plan.steps * plan.step_flops})
    chosen = next(iter(found))
    kept = [c for c in found if c == chosen or not any(is_less(c, other) for other in found)]
    return {c: found[c] for c in kept[:MOST]}


def is_less(one: Choice, other: Choice) -> bool:
    """Whether ``one`` has no more of anything than ``other``, and of something less."""
    a, b = ((batch, memory, activations == "float32") for batch, memory, activations in (one, other))
    return a != b and all(x <= y for x, y in zip(a, b))


def trained(stream: str, choice: Choice, seed: int) -> dict[str, Any]:
    """One run with the choices made, in a process of its own."""
    options = {**STREAMS[stream], **dict(zip(CHOICES, choice)), "seed": seed}
    done = subprocess.run([sys.executable, "-P", "-c", ONE, json.dumps(options)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip()[-600:])
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    return {"stream": stream, **dict(zip(CHOICES, choice)), "seed": seed, "options": STREAMS[stream], **figures}


def judged(stream: str, budget: str, plans: dict[Choice, dict[str, Any]], there: dict[Choice, dict[str, Any]]) -> dict:
    """One cell of the campaign: the planner's plan against the best candidate, paired by seed."""
    runs = {c: [there.get((stream, *c, seed)) for seed in SEEDS] for c in plans}
    missing = sum(r is None for found in runs.values() for r in found)
    chosen = next(iter(plans))
    row: dict[str, Any] = {"stream": stream, "ram": budget, "candidates": len(plans), "missing": missing}
    row |= {"chosen": named(chosen), "plans": [list(c) for c in plans]}
    means = {c: statistics.mean(r["accuracy"] for r in found) for c, found in runs.items() if None not in found}
    if chosen not in means:
        return {**row, "accuracy": None, "verdict": "missing"}
    best = max(means, key=lambda c: means[c])
    gaps = [b["accuracy"] - a["accuracy"] for a, b in zip(runs[chosen], runs[best])]
    row |= {"accuracy": means[chosen], "best": named(best), "best_accuracy": means[best], "gap": statistics.mean(gaps)}
    row |= {"gap_by_seed": gaps}
    return {**row, "verdict": "missing" if missing else "holds" if row["gap"] <= POINT else "fails"}


def named(choice: Choice) -> str:
    return "batch {}, {} slots, {}".format(*choice)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--list", action="store_true", help="the cost and what is there; run nothing")
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), choices=list(STREAMS), help="run only these")
    o = parser.parse_args()
    rows = json.loads(Path(o.json).read_text())["rows"] if o.json and Path(o.json).is_file() else []
    there = {tuple(r[k] for k in KEY): r for r in rows if r["options"] == STREAMS.get(r["stream"])}
    cells = {(s, b): candidates(s, b) for s in STREAMS for b in BUDGETS[s]}
    wanted: dict[Choice, dict[str, Any]] = {}
    for (stream, _), plans in cells.items():
        for choice, about in plans.items() if stream in o.streams else ():
            wanted |= {(stream, *choice, seed): about for seed in SEEDS}
    todo = sorted((k for k in wanted if k not in there), key=lambda k: (k[-1], wanted[k]["flops"]))
    rate = statistics.median(r["flops"] / r["seconds"] for r in rows) if rows else 1e10
    flops = sum(wanted[k]["flops"] for k in todo)
    steps, source = sum(wanted[k]["steps"] for k in todo), "as before" if rows else "assumed"
    print(f"{len(wanted)} runs, {len(todo)} missing: {flops:.3g} FLOPs in {steps} steps, about {flops / rate / 60:.0f} "
          f"min at {rate / 1e9:.3g} GFLOP/s ({source})", flush=True)  # fmt: skip
    for key in [] if o.list else todo:
        row = {**trained(key[0], key[1:-1], key[-1]), "flops": wanted[key]["flops"]}
        there[key] = row
        print(*key, f"{row['accuracy']:.3f} {row['seconds']:.0f} s", flush=True)
        keep(o.json, there, cells)
    keep(o.json if there else None, there, cells)
    shown = ("stream", "ram", "verdict", "missing", "candidates", "chosen", "accuracy", "best", "best_accuracy", "gap")
    table([judged(*cell, plans, there) for cell, plans in cells.items()], shown)


def keep(path: str | None, there: dict[Choice, dict[str, Any]], cells: dict) -> None:
    judgements = [judged(*cell, plans, there) for cell, plans in cells.items()]
    write("planner", list(there.values()), path, key=KEY, cells=judgements, streams=STREAMS, seeds=list(SEEDS))


if __name__ == "__main__":
    main()
