"""What saving activations in bfloat16 costs and brings: arena, time of a step, accuracy of whole runs, seed by seed.

`--part time` takes turns between float32 and bfloat16 on the same network; `--part accuracy` trains both with the
same seeds: the same initial weights, order of samples and replay. Runs found in the --json file are not repeated.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import Neighbours, arguments, interleave, median, quantile, table, write

from edgecl.run import run

FORMATS = ("float32", "bfloat16")
STEPS = [("resnet18", 32), ("resnet18", 8), ("resnet20", 32), ("resnet20", 8), ("mobilenetv2", 32)]
KEY = ("part", "net", "batch", "density", "threads", "activations", "seed")
RUNS: dict[str, dict[str, Any]] = {
    "cnn": {"network": "cnn", "limit_train": 5_000, "epochs": 1, "lr": 0.05},
    "resnet20": {"network": "resnet20", "limit_train": 2_000, "epochs": 2, "lr": 0.05},
}
COMMON = {"stream": "split-fashion", "method": "er", "batch": 16, "memory": 500, "sparsity": 0.9, "threads": 1}


def times(net: str, batch: int, rounds: int, density: float = 0.1, threads: int = 2) -> dict[str, Any]:
    from ours import Step

    steps = {a: Step(net, batch, density, threads=threads, activations=a) for a in FORMATS}
    with Neighbours() as others:
        wall, cpu = interleave(steps, rounds)
    ratios = [h / f for h, f in zip(wall["bfloat16"], wall["float32"])]
    plans = {a: s.engine.plan for a, s in steps.items()}
    return {
        "part": "time",
        "net": net,
        "batch": batch,
        "density": density,
        "threads": threads,
        **{f"{a}_ms": median(wall[a]) * 1e3 for a in FORMATS},
        **{f"{a}_arena_bytes": plans[a].memory["arena"] for a in FORMATS},
        "ratio_median": median(ratios),
        "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
        "ratio_cpu_median": median([h / f for h, f in zip(cpu["bfloat16"], cpu["float32"])]),
        "others_share": others.share,
        "n": rounds,
    }


def trained(net: str, activations: str, seed: int) -> dict[str, Any]:
    options = {**COMMON, **RUNS[net], "activations": activations, "seed": seed}
    record = run(options, command="python bench/saved_activations.py")
    return {
        "part": "accuracy",
        "net": net,
        "batch": 2 * COMMON["batch"],
        "density": 1 - COMMON["sparsity"],
        "threads": COMMON["threads"],
        "activations": activations,
        "seed": seed,
        "accuracy": record["metrics"]["average_accuracy"],
        "forgetting": record["metrics"]["forgetting"],
        "train_seconds": record["seconds"]["train"],
        "options": {**COMMON, **RUNS[net]},
    }


def known(path: str | None) -> set[tuple[str, str, int]]:
    if path is None or not Path(path).exists():
        return set()
    rows = json.loads(Path(path).read_text())["rows"]
    return {(r["net"], r["activations"], r["seed"]) for r in rows if r["part"] == "accuracy"}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By network: mean accuracy of both formats, and the paired differences with their standard error."""
    found = []
    for net in sorted({r["net"] for r in rows}):
        by = {a: {r["seed"]: r["accuracy"] for r in rows if (r["net"], r["activations"]) == (net, a)} for a in FORMATS}
        seeds = sorted(by["float32"].keys() & by["bfloat16"].keys())
        if len(seeds) < 2:
            continue
        differences = [by["bfloat16"][s] - by["float32"][s] for s in seeds]
        found.append(
            {
                "net": net,
                "seeds": len(seeds),
                **{a: mean(by[a][s] for s in seeds) for a in FORMATS},
                "spread_float32": stdev(by["float32"][s] for s in seeds),
                "difference": mean(differences),
                "standard_error": stdev(differences) / len(seeds) ** 0.5,
            }
        )
    return found


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["time", "accuracy"], default="time")
    parser.add_argument("--nets", nargs="+", metavar="NET", help="NET or, of the times, NET:BATCH; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    o = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if o.part == "time":
        for net, batch in STEPS:
            if o.nets is None or net in o.nets or f"{net}:{batch}" in o.nets:
                rows.append(times(net, batch, 5 if o.quick else o.rounds))
        columns = ("net", "batch", "float32_ms", "bfloat16_ms", "ratio_median", "ratio_iqr", "ratio_cpu_median")
        table(rows, (*columns, "others_share"))
    else:
        done = known(o.json)
        for seed in range(2 if o.quick else o.seeds):
            for net in o.nets or list(RUNS):
                for activations in FORMATS:
                    if (net, activations, seed) not in done:
                        rows = [trained(net, activations, seed)]
                        table(rows, ("net", "activations", "seed", "accuracy", "train_seconds"))
                        write("saved_activations", rows, o.json, (), KEY)
        if o.json:
            table(summary([r for r in json.loads(Path(o.json).read_text())["rows"] if r["part"] == "accuracy"]))
        return
    write("saved_activations", rows, o.json, (), KEY)


if __name__ == "__main__":
    main()
