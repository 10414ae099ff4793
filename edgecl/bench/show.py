"""Bench rows as a table and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import require

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))


def quantity(value: float | None, unit: str) -> str:
    """``3.21 ms``: three digits and a prefix."""
    if value is None:
        return "unknown"
    for factor, prefix in PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}{unit}".replace("1e+03", "1000")
    return f"0 {unit}"


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of measured or modelled rows."""
    first = rows[0]
    if "device" in first:
        head = [
            "network",
            "operation",
            "engine",
            "density",
            "device",
            "threads",
            "time",
            "band",
            "energy",
            "ratio",
            "source",
        ]
        return head, [
            [r["net"], r["operation"], r["engine"], f"{r['density']:g}", r["device"], str(r["threads"]),
             quantity(r["seconds"], "s"), " to ".join(quantity(v, "s") for v in r["seconds_band"]),
             quantity(r["joules"], "J"), _ratio(r), r["source"]]
            for r in rows
        ]  # fmt: skip
    if "what" in first:
        head = ["what", "median", "quartiles", "n"]
        return head, [[r["what"], quantity(r["median"], r["unit"]), _quartiles(r), str(r["n"])] for r in rows]
    head = [
        "network",
        "operation",
        "batch",
        "threads",
        "engine",
        "density",
        "median",
        "quartiles",
        "n",
        "ratio",
        "source",
    ]
    return head, [
        [r["net"], r["operation"], str(r["batch"]), str(r["threads"]), r["engine"], f"{r['density']:g}",
         quantity(r["median"], r["unit"]), _quartiles(r), str(r["n"]), _ratio(r), r["source"].partition(":")[0]]
        for r in rows
    ]  # fmt: skip


def _quartiles(row: Mapping[str, Any]) -> str:
    return f"{quantity(row['q1'], row['unit'])} to {quantity(row['q3'], row['unit'])}"


def _ratio(row: Mapping[str, Any]) -> str:
    return "" if row.get("ratio") is None else f"{row['ratio']:.2f}x"


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Bars with quartiles or bands, as PNG, SVG or PDF by the name's ending. Needs the extra ``report``."""
    require("matplotlib", "report").use("Agg")
    import matplotlib.pyplot as plt

    rows = record["rows"]
    modelled = "device" in rows[0]
    values = [r["seconds"] if modelled else r["median"] for r in rows]
    edges = [r["seconds_band"] if modelled else (r["q1"], r["q3"]) for r in rows]
    names = [_name(r) for r in rows]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.3 * len(rows)))
    spread = [[max(v - e[0], 0) for v, e in zip(values, edges)], [max(e[1] - v, 0) for v, e in zip(values, edges)]]
    axes.barh(range(len(rows)), values, xerr=spread, color=["#9ab" if "torch" in n else "#357" for n in names])
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    if max(values) > 50 * max(min(values), 1e-12):
        axes.set_xscale("log")
    axes.set_xlabel("s, modelled, with band" if modelled else f"{rows[0]['unit']}, median and quartiles")
    axes.set_title(f"{record['bench']} (baseline: {record['baseline']})")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _name(row: Mapping[str, Any]) -> str:
    if "what" in row:
        return row["what"]
    device = f"{row['device']}: " if "device" in row else ""
    return f"{device}{row['net']} {row['operation']}, {row['engine']} {row['density']:g}"
