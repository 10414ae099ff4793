"""A page that sets groups of runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .groups import FIGURES, Group, Spread, group_table, shown
from .page import mean_of
from .parts import Charts, escape, page, table, tiles

MOST = 8  # groups that get curves


def compare_page(groups: Sequence[Group]) -> str:
    """One self-contained HTML page."""
    charts = Charts()
    head, rows = group_table(groups)
    first = groups[0].runs[0][1]
    found = [(shown("average_accuracy", g.spread("average_accuracy")), f"{g.name}: average accuracy") for g in groups]
    many = any(len(g.runs) > 1 for g in groups)
    about = "Mean ± half of the 95 % interval of the mean (Student's t), and in brackets the number of seeds."
    body = [
        f"<h1>{escape(first['stream']['name'])}: {len(groups)} compared</h1>",
        f"<p class='soft'>{escape(about if many else '')}</p>",
        tiles(found),
        "<h2>Accuracy</h2>",
        _curves(groups[:MOST], charts),
        *([f"<p class='soft'>Curves of the first {MOST} only.</p>"] if len(groups) > MOST else []),
        "<h2>Figures</h2>",
        table(head, rows),
        "<h2>Runs</h2>",
        table(["group", "run", "seed", *(f.replace("_", " ") for f in FIGURES)], _runs(groups)),
    ]
    return page(f"{first['stream']['name']}: compared", body, charts)


def _curves(groups: Sequence[Group], charts: Charts) -> str:
    longest = max(len(r["accuracy_matrix"]) for g in groups for _, r in g.runs)
    x, series = list(range(1, longest + 1)), []
    for color, g in enumerate(groups):
        means = [Spread.of(_after(g, i)) for i in range(longest)]
        values = [None if m is None else m.mean for m in means]
        series.append({"label": g.name, "values": values, "points": True, "color": color})
        if len(g.runs) > 1:
            for side, sign in (("upper", 1), ("lower", -1)):
                edge = [None if m is None or m.half is None else m.mean + sign * m.half for m in means]
                series.append({"label": f"{side} end", "values": edge, "dash": True, "color": color})
    about = "Mean accuracy on all tasks so far, after each task; dashed: the 95 % interval of the mean."
    look: dict[str, Any] = {"range": [0, 1.02], "format": "share", "whole": True}
    return charts.figure("Accuracy as tasks are learned", about, x, "tasks learned", series, **look)


def _after(group: Group, task: int) -> list[float]:
    """Of each run: mean accuracy after a task."""
    rows = [r["accuracy_matrix"][task] for _, r in group.runs if task < len(r["accuracy_matrix"])]
    return [mean for row in rows if (mean := mean_of(row)) is not None]


def _runs(groups: Sequence[Group]) -> list[list[str]]:
    found = []
    for g in groups:
        for name, record in g.runs:
            one = Group(g.name, ((name, record),))
            found.append([g.name, name, str(record["config"]["seed"]), *(shown(f, one.spread(f)) for f in FIGURES)])
    return found
