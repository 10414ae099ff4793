"""Runs that differ by their seed only, as one group: mean, interval, and paired difference from another group."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from .table import summary

APART = ("seed", "out", "store", "checkpoint_every", "root_key_file", "governor_log")  # options that make no group
FIGURES = (
    "average_accuracy", "forgetting", "task_il_average_accuracy", "flops_executed", "flops_of_dense", "train_seconds",
    "peak_rss_bytes",
)  # fmt: skip
# Student's t at 97.5 % by degrees of freedom; a normal distribution's beyond
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
     2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Of n values: mean, and half of the 95 % interval of the mean (Student's t); None for a single value."""

    n: int
    mean: float
    half: float | None

    @staticmethod
    def of(values: Sequence[float]) -> Spread | None:
        """None without values."""
        n = len(values)
        if not n:
            return None
        mean = sum(values) / n
        if n == 1:
            return Spread(1, mean, None)
        deviation = sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
        return Spread(n, mean, (T[n - 2] if n - 2 < len(T) else 1.96) * deviation / sqrt(n))


@dataclass(frozen=True)
class Group:
    """name : what tells it from the others;  runs : (name, record) by seed, ascending"""

    name: str
    runs: tuple[tuple[str, Record], ...]

    def values(self, figure: str) -> dict[int, float]:
        """A figure by seed, where it is known."""
        found = {int(r["config"]["seed"]): summary(r)[figure] for _, r in self.runs}
        return {seed: float(v) for seed, v in found.items() if v is not None}

    def spread(self, figure: str) -> Spread | None:
        return Spread.of(list(self.values(figure).values()))

    def minus(self, other: Group, figure: str) -> Spread | None:
        """The paired difference from ``other`` over the seeds that both have."""
        ours, theirs = self.values(figure), other.values(figure)
        return Spread.of([ours[s] - theirs[s] for s in ours if s in theirs])


def grouped(runs: Sequence[tuple[str, Record]]) -> list[Group]:
    """Runs by what they are beside their seed, in the order of the first of each."""
    found: dict[str, list[tuple[str, Record]]] = {}
    for name, record in runs:
        own = {k: v for k, v in record["config"].items() if k not in APART}
        found.setdefault(json.dumps([own, record["stream"]["identity"]], sort_keys=True), []).append((name, record))
    configs = [members[0][1]["config"] for members in found.values()]
    both = [k for k in configs[0] if k not in APART and all(k in c for c in configs)]
    differing = [k for k in both if any(c[k] != configs[0][k] for c in configs)]
    groups = []
    for members, config in zip(found.values(), configs):
        told = [str(config[k]) if k in ("method", "network", "stream") else f"{k} {config[k]}" for k in differing]
        name = ", ".join(told) or str(config["method"])
        groups.append(Group(name, tuple(sorted(members, key=lambda m: int(m[1]["config"]["seed"])))))
    return groups


def shown(figure: str, spread: Spread | None, signed: bool = False) -> str:
    """'0.912 ± 0.013 (5)', in the figure's unit."""
    if spread is None:
        return "-"
    scale, form, unit = {
        "peak_rss_bytes": (1e-6, ".1f", " MB"), "flops_executed": (1.0, ".3e", ""),
        "flops_of_dense": (100.0, ".1f", " %"), "train_seconds": (1.0, ".1f", " s"),
    }.get(figure, (1.0, ".3f", ""))  # fmt: skip
    mean = f"{spread.mean * scale:{'+' if signed else ''}{form}}"
    half = "" if spread.half is None else f" ± {spread.half * scale:{form}}"
    return f"{mean}{half}{unit}" + (f" ({spread.n})" if spread.n > 1 else "")


def group_table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a row a figure, a column a group; with several groups, differences from the first by seed."""
    rows = [["runs", *(str(len(g.runs)) for g in groups)]]
    rows += [[f.replace("_", " "), *(shown(f, g.spread(f)) for g in groups)] for f in FIGURES]
    if len(groups) > 1:
        for f in FIGURES[:2]:
            apart = (shown(f, g.minus(groups[0], f), signed=True) for g in groups[1:])
            rows.append([f"{f.replace('_', ' ')}, less the first's, by seed", "", *apart])
    return ["", *(g.name for g in groups)], rows


def csv_text(groups: Sequence[Group]) -> str:
    """A line a run: group, seed and every figure; for spreadsheets."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["group", "run", "seed", "stream", "network", "method", *FIGURES, "status"])
    for g in groups:
        for name, record in g.runs:
            s = summary(record)
            about = [g.name, name, s["seed"], s["stream"], s["network"], s["method"]]
            writer.writerow([*about, *("" if s[f] is None else s[f] for f in FIGURES), s["status"]])
    return out.getvalue()
