"""What each part of SparCL costs and saves: DER++ dense, with TDM, DDR, DGM and all of them.

Every arm trains with the same loss, learning rate and batch, chosen on the dense arm by the accuracy on a
validation part of the first task. Seeds are paired: an arm's run and the dense run of that seed share initial
weights and the order of the first epoch. Runs found in the --json file are kept and not repeated, so an
interrupted campaign goes on.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from threading import Event
from typing import Any

from common import arguments, host_line, table, write

from edgecl.learning.progress import Progress
from edgecl.run import run

BASE: dict[str, Any] = {"stream": "split-fashion", "network": "cnn", "method": "der++", "memory": 500}
KEEP, REMOVE = 0.8, 0.3  # DGM trains 80 % of the living weights, DDR removes 30 % of a task's samples
# In the first task the loss variants differ only in units without samples yet; it cannot tell them apart. The
# main setting has the full loss, another the masked one that SparCL released.
GRID: dict[str, list[Any]] = {"batch": [8, 16, 32], "lr": [0.1, 0.03, 0.3]}
GRID_SEEDS = (1000, 1001)  # none of the campaign's
GRID_VALIDATION = 0.2
# two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One way to train; ``rank``: arms of rank 0 get their seeds first, ``seeds``: at most so many."""

    name: str
    options: Mapping[str, Any]
    rank: int = 0
    seeds: int = 1000


@dataclass(frozen=True)
class Setting:
    """A size of the experiment; arms are compared within one."""

    name: str
    about: str
    options: Mapping[str, Any]
    arms: tuple[Arm, ...]


DENSE = Arm("dense", {})


def sparse_arms(sparsity: float) -> tuple[Arm, ...]:
    tdm = {"sparsity": sparsity}
    ddr, dgm = {"remove": REMOVE}, {"gradient_keep": KEEP}
    percent = f"{sparsity:.0%}"
    released = tdm | ddr | dgm | {"removal_tie_break": "order"}
    return (
        Arm(f"{percent} TDM", tdm, 1),
        Arm(f"{percent} TDM+DDR", tdm | ddr, 1),
        Arm(f"{percent} TDM+DGM", tdm | dgm, 1),
        Arm(f"{percent} all", tdm | ddr | dgm),
        Arm(f"{percent} all, released tie-break", released, 2, seeds=5),
    )


def settings(limit: int, epochs: int, beside: int) -> list[Setting]:
    """``beside``: seeds of the released loss and of the released schedule."""
    arms = (DENSE, *sparse_arms(0.75), *sparse_arms(0.90))
    few = {a.name: Arm(a.name, a.options, seeds=beside) for a in arms}
    size = {"limit_train": limit, "epochs": epochs}
    return [
        Setting("main", f"{limit} training samples, {epochs} epochs a task, schedules in steps", size, arms),
        Setting(
            "released loss",
            "the same with the released loss: cross-entropy of current samples over the task's units only",
            {**size, "current_loss": "masked"},
            (few["dense"], few["75% all"], few["90% all"]),
        ),
        Setting(
            "released schedule",
            f"{limit // 5} training samples, 10 epochs a task: schedules in epochs, as released",
            {"limit_train": limit // 5, "epochs": 10},
            tuple(a for a in few.values() if "TDM" not in a.name),
        ),
    ]


# -- runs


def first_task_accuracy(options: Mapping[str, Any]) -> float:
    """Validation accuracy after the first task; the run is stopped in the second."""
    stop = Event()

    def listen(progress: Progress) -> None:
        if progress.task > 0:
            stop.set()

    return run(options, listen=listen, stop=stop)["accuracy_matrix"][0][0]


def choose(setting: Setting, grid: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Learning rate and batch of every arm: the best mean over ``seeds``, among equals the grid's first."""
    tried = []
    for values in product(*grid.values()):
        options = dict(zip(grid, values))
        fixed = {**BASE, **setting.options, **options, "validation": GRID_VALIDATION}
        accuracies = [first_task_accuracy({**fixed, "seed": seed}) for seed in seeds]
        tried.append({**options, "accuracy": mean(accuracies), "accuracies": accuracies})
        print(tried[-1], flush=True)
    best = max(tried, key=lambda t: t["accuracy"])
    return {
        "by": "mean accuracy of the dense arm on a validation part of the first task",
        "validation": GRID_VALIDATION,
        "seeds": list(seeds),
        "grid": {k: list(v) for k, v in grid.items()},
        "tried": tried,
        "chosen": {k: best[k] for k in grid},
    }


def one_run(setting: Setting, arm: Arm, seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    began = time.process_time()
    record = run({**BASE, **setting.options, **options, **arm.options, "seed": seed})
    flops, metrics = record["flops"]["full"], record["metrics"]
    return {
        "setting": setting.name,
        "arm": arm.name,
        "seed": seed,
        "average_accuracy": metrics["average_accuracy"],
        "forgetting": metrics["forgetting"],
        "task_il_average_accuracy": metrics["task_il_average_accuracy"],
        "flops": flops["executed"],
        "flops_dense": flops["dense"],
        "train_seconds": record["seconds"]["train"],
        "cpu_seconds": time.process_time() - began,  # with evaluation
    }


def jobs(plans: Sequence[Setting], seeds: int) -> Iterator[tuple[Setting, Arm, int]]:
    """By rank, then seed by seed: arms take turns, and an early end leaves complete pairs."""
    for setting in plans:
        for rank in sorted({arm.rank for arm in setting.arms}):
            arms = [arm for arm in setting.arms if arm.rank == rank]
            for seed in range(seeds):
                yield from ((setting, arm, seed) for arm in arms if seed < arm.seeds)


# -- summary


def interval(differences: Sequence[float]) -> list[float] | None:
    """95 % interval of the mean by Student's t; None below two differences."""
    n = len(differences)
    if n < 2:
        return None
    t = T95[n - 2] if n - 2 < len(T95) else 1.96
    half = t * stdev(differences) / math.sqrt(n)
    return [mean(differences) - half, mean(differences) + half]


def summary(plans: Sequence[Setting], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per setting and arm; accuracies and forgetting in percent, differences in points."""
    rows = []
    for setting in plans:
        here = [r for r in runs if r["setting"] == setting.name]
        dense = {r["seed"]: r for r in here if r["arm"] == "dense"}
        for arm in setting.arms:
            mine = [r for r in here if r["arm"] == arm.name and r["seed"] in dense]
            if not mine:
                continue
            row: dict[str, Any] = {"setting": setting.name, "arm": arm.name, "n": len(mine)}
            for key in ("average_accuracy", "forgetting", "task_il_average_accuracy"):
                values = [100 * r[key] for r in mine]
                row[key] = {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None}
            for key in ("flops", "train_seconds", "cpu_seconds"):
                row[key] = mean(r[key] for r in mine)
            row["flops_ratio"] = sum(r["flops"] for r in mine) / sum(r["flops_dense"] for r in mine)
            row["cpu_ratio"] = row["cpu_seconds"] / mean(dense[r["seed"]]["cpu_seconds"] for r in mine)
            if arm.name != "dense":
                pairs = [(r, dense[r["seed"]]) for r in mine]
                points = [100 * (r["average_accuracy"] - d["average_accuracy"]) for r, d in pairs]
                row["difference"] = {"mean": mean(points), "interval_95": interval(points)}
            rows.append(row)
    return rows


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    def spread(v: Mapping[str, Any]) -> str:
        return f"{v['mean']:.1f}" + ("" if v["std"] is None else f" ± {v['std']:.1f}")

    difference = ""
    if "difference" in row:
        d = row["difference"]
        difference = f"{d['mean']:+.1f}"
        if d["interval_95"]:
            difference += f" [{d['interval_95'][0]:+.1f}, {d['interval_95'][1]:+.1f}]"
    return {
        "arm": row["arm"],
        "seeds": str(row["n"]),
        "accuracy %": spread(row["average_accuracy"]),
        "to dense, points [95 %]": difference,
        "forgetting %": spread(row["forgetting"]),
        "TFLOPs": f"{row['flops'] / 1e12:.3f}",
        "of dense": f"{row['flops_ratio']:.3f}",
        "train s": f"{row['train_seconds']:.1f}",
        "CPU s": f"{row['cpu_seconds']:.1f}",
        "CPU of dense": f"{row['cpu_ratio']:.2f}",
    }


def markdown(record: Mapping[str, Any]) -> str:
    """The page made from the JSON."""
    chosen = ", ".join(f"{k} {v}" for k, v in record["choice"]["chosen"].items())
    grid = "; ".join(f"{k} in {', '.join(map(str, v))}" for k, v in record["choice"]["grid"].items())
    cpu = record["host"]["cpu"] or record["host"]["machine"]
    lines = [
        "# Ablation",
        "",
        "What each part of SparCL costs and saves with DER++ (500 samples in memory) on split-fashion,",
        f"network `cnn`, on one thread of {cpu}. Written by `bench/ablation.py --markdown` from",
        "`bench/results/ablation.json`.",
        "",
        f"Every arm uses {chosen}: {record['choice']['by']}",
        f"({len(record['choice']['seeds'])} other seeds; {grid}).",
        "Accuracy is the Class-IL average after the last task, on the test set. FLOPs are all forward and",
        "backward FLOPs that ran, replay included. Differences are paired by seed; intervals: Student's t.",
        "Train s are wall seconds of training, CPU s the whole run's, with evaluation.",
        f"DGM trains {KEEP:.0%} of the living weights; DDR removes {REMOVE:.0%} of a task's samples, the",
        "lowest mean loss first among equally easy ones, classes evenly (released: the first in order).",
    ]
    lines += ["", host_line(record)]
    for note in record["notes"]:
        lines += ["", note]
    for setting in record["settings"]:
        rows = [cells(r) for r in record["rows"] if r["setting"] == setting["name"]]
        if not rows:
            continue
        head = list(rows[0])
        lines += ["", f"## {setting['about'][0].upper() + setting['about'][1:]}", ""]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(r.values()) + " |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--markdown", metavar="FILE", help="write the page made from the results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--limit-train", type=int, default=20000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--beside", type=int, default=3, help="seeds of the released loss and schedule")
    options = parser.parse_args()
    plans = settings(options.limit_train, options.epochs, options.beside)
    grid = GRID
    more: dict[str, Any] = {}
    grid_seeds: Sequence[int] = GRID_SEEDS
    seeds = options.seeds
    if options.quick:  # a tenth of the samples, tested on part of them
        plans = settings(2000, 2, 0)[:1]
        grid = {"lr": [0.1], "batch": [16]}
        grid_seeds, seeds = (1000,), 1
        more = {"validation": 0.2}

    saved: dict[str, Any] = {}
    if options.json and Path(options.json).exists():
        saved = json.loads(Path(options.json).read_text())
    shape = [{"name": p.name, "about": p.about, "options": {**BASE, **p.options, **more}} for p in plans]
    if saved and saved["settings"] != shape:
        parser.error(f"{options.json} holds a campaign of other settings; choose another file")
    choice = saved.get("choice")
    runs: list[dict[str, Any]] = saved.get("runs", [])
    notes: list[str] = saved.get("notes", [])  # of who ran it, written into the file by hand

    def store() -> None:
        if options.json:
            temporary = options.json + ".tmp"
            more_of: dict[str, Any] = {"settings": shape, "choice": choice, "notes": notes, "runs": runs}
            write("ablation", summary(plans, runs), temporary, **more_of)
            os.replace(temporary, options.json)

    if choice is None:
        choice = choose(plans[0], grid, grid_seeds)
        store()
    done = {(r["setting"], r["arm"], r["seed"]) for r in runs}
    for setting, arm, seed in jobs(plans, seeds):
        if (setting.name, arm.name, seed) not in done:
            runs.append(one_run(setting, arm, seed, {**choice["chosen"], **more}))
            print(*(runs[-1][k] for k in ("arm", "seed", "average_accuracy", "train_seconds")), flush=True)
            store()
    rows = summary(plans, runs)
    table([{"setting": r["setting"], **cells(r)} for r in rows])
    if options.markdown:
        if not options.json:
            parser.error("--markdown is made from the --json file; give both")
        Path(options.markdown).write_text(markdown(json.loads(Path(options.json).read_text())))


if __name__ == "__main__":
    main()
