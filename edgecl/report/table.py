"""Plain tables of run records, for any terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDEST = 10  # tasks whose accuracy matrix is shown whole


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in line; a column of figures is aligned to the right."""
    cells = [list(map(str, head)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    figures = figure_columns(len(head), cells[1:])

    def line(row: Sequence[str]) -> str:
        return "  ".join(c.rjust(w) if f else c.ljust(w) for c, w, f in zip(row, widths, figures)).rstrip()

    return "\n".join([line(cells[0]), line(["-" * w for w in widths]), *(line(row) for row in cells[1:])])


def figure_columns(count: int, rows: Sequence[Sequence[str]]) -> list[bool]:
    """Which of ``count`` columns hold nothing but figures."""
    return [bool(rows) and all(row[i][:1].isdigit() or row[i][:1] in ("-", "") for row in rows) for i in range(count)]


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The figures people compare."""
    config, metrics, full = record["config"], record["metrics"], record["flops"]["full"]
    return {
        "stream": record["stream"]["name"],
        "network": config["network"],
        "method": config["method"],
        "sparsity": config.get("sparsity", 0.0),
        "gate": config.get("gate") or ("none" if config.get("store") is None else "hybrid_balanced_p"),
        "memory": config.get("memory", 0),
        "seed": config["seed"],
        "average_accuracy": metrics["average_accuracy"],
        "forgetting": metrics["forgetting"],
        "task_il_average_accuracy": metrics["task_il_average_accuracy"],
        "flops_executed": full["executed"],
        "flops_of_dense": full["executed"] / full["dense"] if full["dense"] else None,
        "train_seconds": record["seconds"]["train"],
        "peak_rss_bytes": record["memory"]["measured_peak_rss_bytes"],
        "status": record["status"]["reason"],
    }


def comparison(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: one row per figure, one column per run (name, record)."""
    summaries = [summary(record) for _, record in runs]
    names = _short([name for name, _ in runs])
    rows = [[key.replace("_", " "), *(_show(key, s[key]) for s in summaries)] for key in summaries[0]]
    return ["", *names], rows


def _accuracy_table(tasks: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> str:
    """The whole matrix where it fits on a terminal, else a line per task."""
    if len(tasks) <= WIDEST:
        rows = [[f"after {tasks[i]}", *("" if a is None else f"{a:.3f}" for a in row)] for i, row in enumerate(matrix)]
        return plain_table(["Class-IL accuracy on", *tasks], rows)
    rows = []
    for i, row in enumerate(matrix):
        seen = [a for a in row if a is not None]
        mean = f"{sum(seen) / len(seen):.3f}" if seen else ""
        rows.append([tasks[i], *("" if a is None else f"{a:.3f}" for a in (row[i], matrix[-1][i])), mean])
    return plain_table(["Class-IL accuracy on", "after it", "at the end", "mean of all seen, after it"], rows)


def run_table(record: Mapping[str, Any]) -> str:
    """What one run came to: accuracy after each task, then the figures."""
    tasks = [t["name"] for t in record["stream"]["tasks"]]
    lines = [f"{record['stream']['name']}, {record['config']['network']}, {record['config']['method']}: "
             f"{record['status']['reason']}"]  # fmt: skip
    if record["accuracy_matrix"]:
        lines += ["", _accuracy_table(tasks, record["accuracy_matrix"])]
    shown = summary(record)
    memory, steps = record["memory"], record["device"]["step_seconds"]
    rows = [[key.replace("_", " "), _show(key, shown[key])] for key in list(shown)[7:-1]]
    planned = f"{memory['planned_peak_rss_bytes'] / 1e6:.1f} MB"
    rows += [["planned peak", planned], ["baseline", f"{memory['baseline_bytes'] / 1e6:.1f} MB"]]
    if memory["budget_bytes"] is not None:
        rows.append(["RAM budget", f"{memory['budget_bytes'] / 1e6:.1f} MB"])
    if steps["value"] is not None:
        rows.append([f"seconds a step, {steps['source']}", f"{steps['value']:.3g}"])
    energy = record["device"]["energy_joules"]
    if energy["value"] is not None:
        rows.append([f"joules, {energy['source']}", f"{energy['value']:.4g}"])
    watch = record.get("governor")
    if watch is not None:
        rest = f"{watch['slowed_steps']} / {watch['pauses']} / {watch['waited_seconds']:.0f} s"
        rows.append(["steps slowed / pauses / rest", rest])
    if record.get("front") is not None:
        rows.append([f"FLOPs of the front {record['front']['name']}", f"{record['flops']['front']:.3e}"])
    c = record["carousel"]
    if c["samples_stored"]:
        rows += [
            ["samples on flash", f"{c['samples_stored']}"],
            ["exchanges done / asked", f"{c['swaps_done']} / {c['swaps_requested']}"],
        ]
    lines += ["", plain_table(["figure", "value"], rows)]
    lines += [f"warning: {w}" for w in record["warnings"]]
    lines += [f"health: {line}" for line in record.get("health", {}).get("off", ())]
    return "\n".join(lines)


def _show(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "peak_rss_bytes":
        return f"{value / 1e6:.1f} MB"
    if key == "flops_executed":
        return f"{value:.3e}"
    if key == "flops_of_dense":
        return f"{value:.1%}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _short(paths: Sequence[str]) -> list[str]:
    """The paths without their common last part, so that columns stay narrow."""
    shorter = [p.removesuffix("/run.json").rsplit("/", 1)[-1] for p in paths]
    return shorter if len(set(shorter)) == len(shorter) else list(paths)
