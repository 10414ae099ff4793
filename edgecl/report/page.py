"""A page about one run, which needs nothing but a browser: what was learned and kept, at what cost, chosen why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .parts import Charts, bars, escape, heat, page, table, tiles
from .record import check_record

MOST_LINES = 10  # tasks that get a curve each
MB = 1e6


def run_page(record: Mapping[str, Any]) -> str:
    """One self-contained HTML page; the record is inside it (`record_in`)."""
    config, charts = record["config"], Charts()
    stream = Path(str(record["stream"]["name"])).stem
    title = f"{stream}: {config['network']}, {config['method']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='soft'>{escape(_about(record))}</p>",
        tiles(_tiles(record)),
        *(f"<p class='warn'>{escape(w)}</p>" for w in [*record["warnings"], *record.get("health", {}).get("off", ())]),
        *_accuracy(record, charts),
        *_classes(record),
        *_training(record, charts),
        *_costs(record),
        *_choices(record),
    ]
    return page(title, body, charts, {"record": record})


def record_in(path: str | Path) -> dict[str, Any]:
    """The run record inside a page. Raises `BadInput`."""
    text = Path(path).read_text(encoding="utf-8")
    found = re.search(r"<script type='application/json' id='record'>(.*?)</script>", text, re.DOTALL)
    if found is None:
        raise BadInput(f"'{path}' is no page of a run.", "Give a report.html as edgecl wrote it.")
    record: dict[str, Any] = json.loads(found[1])
    check_record(record)
    return record


def _about(record: Mapping[str, Any]) -> str:
    about, status = record["stream"].get("about", {}), record["status"]["reason"]
    read = [str(about[k]) for k in ("line", "cut") if about.get(k)]
    sizes = f"{record['stream']['train_samples']} training and {record['stream']['test_samples']} test samples"
    return ". ".join([*read, sizes, "The run completed" if status == "completed" else f"The run ended: {status}"]) + "."


def _tiles(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    metrics, full, memory = record["metrics"], record["flops"]["full"], record["memory"]
    steps, joules = record["steps"], record["device"]["energy_joules"]
    found = [
        (share(metrics["average_accuracy"]), "average accuracy over all tasks, at the end"),
        (share(metrics["forgetting"]), "forgetting: mean fall from a task's best to its last accuracy"),
        (duration(record["seconds"]["train"]), f"of training, {steps} steps"),
        (f"{full['executed']:.3g}", f"training FLOPs, {full['executed'] / max(full['dense'], 1):.0%} of those dense"),
        (f"{memory['measured_peak_rss_bytes'] / MB:.1f} MB",
         f"highest resident memory; planned {memory['planned_peak_rss_bytes'] / MB:.1f} MB"),
    ]  # fmt: skip
    if joules["value"] is not None:
        found.append((f"{joules['value']:.3g} J", f"energy of training, {joules['source']}"))
    if record["carousel"]["samples_stored"]:
        c = record["carousel"]
        found.append((f"{c['samples_stored']}", f"samples on flash, {c['flash_bytes'] / MB:.1f} MB"))
    return found


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def with_unit(limit: str, value: float | None) -> str:
    """A figure of a budget by the limit's name."""
    if value is None:
        return "–"
    if limit in ("ram", "flash_writes_per_day"):
        return f"{value / MB:.1f} MB"
    return f"{value:.4g} {({'seconds': 's', 'energy': 'J', 'flops': 'FLOPs'}).get(limit, '')}".strip()


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _accuracy(record: Mapping[str, Any], charts: Charts) -> list[str]:
    rows, names = record["accuracy_matrix"], [t["name"] for t in record["stream"]["tasks"]]
    if not rows:
        return ["<h2>Accuracy</h2><p>No task was evaluated.</p>"]
    found = [
        "<h2>Accuracy</h2>",
        "<p class='soft'>Share of test samples named rightly among all classes so far, on each task (columns) after "
        "each task was learned (rows).</p>",
        heat("after", names, names[: len(rows)], rows),
    ]
    if len(names) == 1:
        return [*found, "<p class='soft'>One task: there is nothing to forget, and no curve to draw.</p>"]
    curves = ["<div class='two'>", _curve(rows, names, charts), _lost(rows, charts), "</div>"]
    return [*found, *curves, *_stability(record, charts)]


def _curve(rows: Sequence[Sequence[float | None]], names: Sequence[str], charts: Charts) -> str:
    x = list(range(1, len(rows) + 1))
    mean = [mean_of(row) for row in rows]
    series: list[dict[str, Any]] = [{"label": "mean of all so far", "values": mean, "points": True, "color": 0}]
    if len(names) <= MOST_LINES:
        columns = [[row[j] for row in rows] for j in range(len(names))]
        series += [{"label": n, "values": c, "dash": True, "points": True} for n, c in zip(names, columns)]
    else:
        learned = [row[i] for i, row in enumerate(rows)]
        lowest = [min(a for a in row if a is not None) if mean[i] is not None else None for i, row in enumerate(rows)]
        series += [
            {"label": "the task just learned", "values": learned, "color": 2},
            {"label": "the first task", "values": [row[0] for row in rows], "color": 1},
            {"label": "the worst task", "values": lowest, "color": 3},
        ]
    about = "Accuracy on each task as later ones are learned." if len(names) <= MOST_LINES else "As tasks are learned."
    look = {"range": [0, 1.02], "format": "share", "whole": True}
    return charts.figure("What is kept", about, x, "tasks learned", series, **look)


def _lost(rows: Sequence[Sequence[float | None]], charts: Charts) -> str:
    """Mean forgetting after each task: the fall from the best accuracy so far, over the tasks before."""
    values: list[float | None] = []
    for i, row in enumerate(rows):
        falls = []
        for j in range(i):
            last, seen = row[j], [a for r in rows[: i + 1] if (a := r[j]) is not None]
            if last is not None:
                falls.append(max(seen) - last)
        values.append(sum(falls) / len(falls) if falls else (0.0 if i == 0 else None))
    series = [{"label": "forgetting", "values": values, "points": True, "color": 1}]
    about = "Mean fall of the tasks before from their best accuracy so far."
    look = {"range": [0, max([0.1, *(1.15 * v for v in values if v is not None)])], "format": "share", "whole": True}
    return charts.figure("What is lost", about, list(range(1, len(rows) + 1)), "tasks learned", series, **look)


def _stability(record: Mapping[str, Any], charts: Charts) -> list[str]:
    probes = record.get("history", {}).get("earlier_tasks", {"step": []})
    if not probes["step"]:
        return []
    about = (
        "On a few test samples of the tasks before, 1, 4, 16, 64 ... steps into each new one: where it falls at once "
        "and comes back, the fall is the stability gap."
    )
    series = [{"label": "earlier tasks", "values": probes["accuracy"], "points": True, "color": 0}]
    return [charts.figure(
        "Accuracy on earlier tasks while a new one is learned", about, probes["step"], "training steps", series,
        range=[0, 1.02], format="share",
    )]  # fmt: skip


def mean_of(row: Sequence[float | None]) -> float | None:
    seen = [a for a in row if a is not None]
    return sum(seen) / len(seen) if seen else None


def _classes(record: Mapping[str, Any]) -> list[str]:
    recall, labels = record.get("health", {}).get("recall", {}), record["stream"]["labels"]
    if not recall:
        return []

    def name(unit: int) -> str:
        return str(labels[unit]) if unit < len(labels) else f"unit {unit}"

    found = ["<h2>Classes</h2>", "<div class='two'><div>"]
    ranked = sorted(((name(int(u)), float(a)) for u, a in recall.items()), key=lambda item: item[1])
    about = "Recall: share of a class's test samples that are named rightly, the lowest first."
    found += [f"<p class='soft'>{about}</p>", bars(ranked), "</div>"]
    confusion = record.get("confusion")
    if confusion is not None:
        counts = confusion["counts"]
        cells = [[n / max(sum(row), 1) for n in row] for row in counts]
        names = [name(u) for u in confusion["units"]]
        about = "Confusion: of the test samples of a class (rows), the share that was taken for each (columns)."
        found += [f"<div><p class='soft'>{about}</p>", heat("is", names, names, cells), "</div>"]
    return [*found, "</div>"]


def _training(record: Mapping[str, Any], charts: Charts) -> list[str]:
    history = record.get("history", {"step": []})
    if not history["step"]:
        return []
    x, memory = history["step"], record["memory"]
    losses = [{"label": name, "values": values} for name, values in history["loss"].items()]
    resident = [b / MB if b else None for b in history["resident_bytes"]]
    lines: list[dict[str, Any]] = [{"label": "resident", "values": resident, "color": 0}]
    for label, key, color in (("planned peak", "planned_peak_rss_bytes", 2), ("budget", "budget_bytes", 6)):
        if memory[key] is not None:
            lines.append({"label": label, "values": [memory[key] / MB] * len(x), "dash": True, "color": color})
    flops = [{"label": "executed", "values": history["flops"], "color": 0}]
    return [
        "<h2>Training</h2><div class='two'>",
        charts.figure("Loss", "Each term, as a running mean over about 50 steps.", x, "training steps", losses),
        charts.figure("Memory", "Resident set of the process in MB.", x, "training steps", lines, format="megabytes"),
        charts.figure("Compute", "Training FLOPs executed so far.", x, "training steps", flops, format="count"),
        "</div>",
    ]  # fmt: skip


def _costs(record: Mapping[str, Any]) -> list[str]:
    flops, seconds, device = record["flops"], record["seconds"], record["device"]
    rows = [
        ["training FLOPs, executed", f"{flops['full']['executed']:.4g}"],
        ["training FLOPs of the same run dense", f"{flops['full']['dense']:.4g}"],
        ["executed, as SparCL counts", f"{flops['sparcl_convention']['executed']:.4g}"],
        ["time of training", f"{seconds['train']:.2f} s"],
        ["time of everything", f"{seconds['total']:.2f} s"],
    ]
    if seconds.get("waited"):
        rows.append(["rests of the governor", f"{seconds['waited']:.1f} s"])
    step, energy = device["step_seconds"], device["energy_joules"]
    if step["value"] is not None:
        rows.append([f"a step, {step['source']}", f"{step['value'] * 1e3:.3g} ms"])
    if energy["value"] is not None:
        rows.append([f"energy of training, {energy['source']}", f"{energy['value']:.4g} J"])
    c = record["carousel"]
    if c["samples_stored"]:
        rows += [[f"{what} flash", f"{c[key] / MB:.2f} MB"]
                 for what, key in (("written to", "bytes_written"), ("read from", "bytes_read"))]
        rows.append(["exchanges done of those asked for", f"{c['swaps_done']} of {c['swaps_requested']}"])
    for name, limit in (record.get("budget") or {}).items():
        if limit is not None:
            used, most = (with_unit(name, limit[key]) for key in ("used", "limit"))
            rows.append([f"limit on {name.replace('_', ' ')}, {limit['source']}", f"{used} of {most}"])
    return ["<h2>Costs</h2>", table(["what", "figure"], rows)]  # fmt: skip


def _choices(record: Mapping[str, Any]) -> list[str]:
    plan, config = record["plan"], record["config"]
    growth = plan.get("growth_bytes", {})
    parts = [["interpreter and libraries", f"{record['memory']['baseline_bytes'] / MB:.2f} MB"]]
    parts += [[k.replace("_", " "), f"{v / MB:.2f} MB"] for k, v in sorted(growth.items(), key=lambda e: -e[1]) if v]
    chosen = plan.get("choices", [])
    why = "".join(f"<li>{escape(c)}</li>" for c in chosen)
    given = {k: v for k, v in sorted(config.items()) if v is not None}
    settings = [[k, json.dumps(v) if isinstance(v, (dict, list)) else v] for k, v in given.items()]
    host = ", ".join(f"{k} {v}" for k, v in record["host"].items())
    return [
        "<h2>What was chosen, and why</h2>",
        f"<ul>{why}</ul>" if chosen else "<p>Nothing had to be given up: everything asked for fitted.</p>",
        "<p class='soft'>The plan's memory by purpose:</p>",
        table(["purpose", "planned"], parts),
        "<h2>Settings</h2>",
        f"<p>Command: <code>{escape(record['command'])}</code></p>",
        f"<p class='soft'>edgecl {escape(record['version'])} on {escape(host)}</p>",
        "<details><summary>All options</summary>", table(["", ""], settings, "wrap"), "</details>",
    ]  # fmt: skip
