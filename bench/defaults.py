"""What defaults alone reach at 90 % sparsity: `edgecl run --stream S --method M --sparsity 0.9`, joint training beside.

A run is written down when it is done; the same command goes on where it stopped.

    nice -n 10 python bench/defaults.py [--streams S ...] [--methods M ...] [--seeds N] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from common import arguments, table, write

STREAMS, METHODS = ("split-mnist5k", "split-fashion"), ("der++", "er-ace", "joint")
TARGETS = {"split-mnist5k": 85.0}  # percent, mean of five seeds
KEPT = ("lr", "lr_schedule", "epochs", "batch", "memory", "memory_policy", "network", "alpha", "beta")
Row = dict[str, Any]


def row_of(record: dict[str, Any]) -> Row:
    """What is kept of a run's record."""
    config, metrics = record["config"], record["metrics"]
    return {
        "stream": config["stream"], "method": config["method"], "sparsity": config["sparsity"], "seed": config["seed"],
        "accuracy": round(100 * metrics["average_accuracy"], 2),
        "task_il": round(100 * metrics["task_il_average_accuracy"], 2),
        "forgetting": round(100 * metrics["forgetting"], 2), "steps": record["steps"],
        "seconds": round(record["seconds"]["train"], 1), "options": {k: config[k] for k in KEPT if k in config},
    }  # fmt: skip


def one(stream: str, method: str, seed: int) -> Row:
    """By the command line, with nothing but the defaults."""
    command = [sys.executable, "-P", "-m", "edgecl", "run", "--json", "--stream", stream, "--method", method]
    done = subprocess.run(
        [*command, "--sparsity", "0.9", "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: {stream} {method} {seed}: {done.stderr.strip()}")
    return row_of(json.loads(done.stdout))


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--streams", nargs="+", default=list(STREAMS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-more", action="store_true", help="start no run: the table of the finished ones")
    o = parser.parse_args()
    path = None if o.json is None else Path(o.json)
    runs: list[Row] = json.loads(path.read_text())["runs"] if path is not None and path.is_file() else []
    for seed in range(1 if o.quick else o.seeds):
        for stream in o.streams:
            for method in o.methods:
                there = any((r["stream"], r["method"], r["seed"]) == (stream, method, seed) for r in runs)
                if not there and not o.no_more:
                    runs.append(one(stream, method, seed))
                    write("defaults", summary(runs), o.json, runs=runs)
    table(summary(runs))
    write("defaults", summary(runs), o.json, runs=runs)


def summary(runs: list[Row]) -> list[Row]:
    """A row for each stream and method."""
    rows = []
    for stream, method in dict.fromkeys((r["stream"], r["method"]) for r in runs):
        found = [r["accuracy"] for r in runs if (r["stream"], r["method"]) == (stream, method)]
        rows.append({
            "stream": stream, "method": method, "n": len(found), "mean": round(mean(found), 2), "least": min(found),
            "target": TARGETS.get(stream),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
