"""A page about one run: accuracy matrix, forgetting, memory and FLOPs."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import require
from .record import read_record
from .table import run_table

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "pre{background:#f4f4f4;padding:1rem;overflow:auto}img{max-width:100%}figure{margin:1rem 0}"
)


def page(record: Mapping[str, Any]) -> str:
    """One self-contained HTML page. Needs matplotlib (the extra ``report``)."""
    matplotlib = require("matplotlib", "report")
    matplotlib.use("Agg")
    config = record["config"]
    title = f"{record['stream']['name']}, {config['network']}, {config['method']}"
    figures = [accuracy_figure(record), curve_figure(record), resource_figure(record)]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>",
        *(
            f"<figure><img alt='{html.escape(alt)}' src='data:image/png;base64,{data}'></figure>"
            for alt, data in figures
        ),
        f"<pre>{html.escape(run_table(record))}</pre>",
        f"<p>Command: <code>{html.escape(record['command'])}</code></p></html>",
    ]
    return "\n".join(parts)


def accuracy_figure(record: Mapping[str, Any]) -> tuple[str, str]:
    """Class-IL accuracy on every task after every task, as a coloured table."""
    import matplotlib.pyplot as plt

    names = [t["name"] for t in record["stream"]["tasks"]]
    rows = record["accuracy_matrix"]
    figure, axes = plt.subplots(figsize=(1.2 + 0.8 * len(names), 1 + 0.5 * max(len(rows), 1)))
    shown = [[float("nan") if a is None else a for a in row] for row in rows] or [[float("nan")] * len(names)]
    axes.imshow(shown, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for i, row in enumerate(rows):
        for j, a in enumerate(row):
            if a is not None:
                axes.text(j, i, f"{a:.2f}", ha="center", va="center", color="white" if a > 0.6 else "black")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(rows)), [f"after {n}" for n in names[: len(rows)]])
    axes.set_title("Class-IL accuracy")
    return "Class-IL accuracy on every task after every task", _png(figure)


def curve_figure(record: Mapping[str, Any]) -> tuple[str, str]:
    """Accuracy on each task as later ones are learned."""
    import matplotlib.pyplot as plt

    names = [t["name"] for t in record["stream"]["tasks"]]
    rows = record["accuracy_matrix"]
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for j, name in enumerate(names):
        points = [(i + 1, row[j]) for i, row in enumerate(rows) if row[j] is not None]
        if points:
            axes.plot(*zip(*points), marker="o", label=name)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(range(1, len(names) + 1))
    axes.set_xlabel("tasks learned")
    axes.set_ylabel("accuracy")
    axes.set_title("What is kept of each task")
    if rows:
        axes.legend(fontsize="small")
    return "Accuracy on each task as later tasks are learned", _png(figure)


def resource_figure(record: Mapping[str, Any]) -> tuple[str, str]:
    """Training FLOPs against dense, and memory: baseline, planned peak, measured peak, budget."""
    import matplotlib.pyplot as plt

    flops, memory = record["flops"], record["memory"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    bars = {"dense": flops["full"]["dense"], "executed": flops["full"]["executed"],
            "dense,\nSparCL count": flops["sparcl_convention"]["dense"],
            "executed,\nSparCL count": flops["sparcl_convention"]["executed"]}  # fmt: skip
    left.bar(list(bars), list(bars.values()), color=["#bbb", "#27c", "#bbb", "#27c"])
    left.set_title("Training FLOPs")
    left.tick_params(axis="x", labelsize="small")
    bars = {"baseline": memory["baseline_bytes"], "planned": memory["planned_peak_rss_bytes"],
            "measured": memory["measured_peak_rss_bytes"]}  # fmt: skip
    right.bar(list(bars), [b / 1e6 for b in bars.values()], color=["#bbb", "#8bd", "#27c"])
    if memory["budget_bytes"] is not None:
        right.axhline(memory["budget_bytes"] / 1e6, color="#c33", linestyle="--", label="budget")
        right.legend()
    right.set_title("Resident memory, MB")
    return "Training FLOPs and resident memory", _png(figure)


def _png(figure: Any) -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> int:
    """Write the page of the record named first to the file named second."""
    Path(sys.argv[2]).write_text(page(read_record(sys.argv[1])), encoding="utf-8")
    return 0
