"""Bench rows as a table and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import require
from .work import OURS

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
         quantity(r["median"], r["unit"]), _quartiles(r), str(r["n"]), _ratio(r), r["source"]]
        for r in rows
    ]  # fmt: skip


def comparison(rows: Sequence[Mapping[str, Any]], figure: str) -> list[tuple[list[str], list[list[str]]]]:
    """Head and cells of a table per network, operation and batch: a line a device, a column an engine and density.

    figure : ``seconds`` or ``joules``, of a step; the band stands behind it. The last column is what the baseline takes
    over what our engine takes at the lowest density.
    """
    found = []
    unit = "s" if figure == "seconds" else "J"
    for case in dict.fromkeys((r["net"], r["operation"], r["batch"]) for r in rows):
        here = [r for r in rows if (r["net"], r["operation"], r["batch"]) == case]
        mine = {(r["source"], r["engine"], r["density"]): r for r in here}
        engines = list(dict.fromkeys((e, d) for _, e, d in mine))
        sparsest = min((d, e) for e, d in engines if e == OURS)[::-1]
        head = ["{} {}, batch {}".format(*case), "threads", *(_engine(e, d) for e, d in engines), "gain"]
        cells = []
        for source in dict.fromkeys(s for s, _, _ in mine):
            line = [mine[source, e, d] for e, d in engines]
            shown = [f"{quantity(r[figure], unit)} {_short(r[f'{figure}_band'], unit)}" for r in line]
            cells.append([source, str(line[0]["threads"]), *shown, _ratio(mine[(source, *sparsest)])])
        found.append((head, cells))
    return found


def _engine(name: str, density: float) -> str:
    return f"{name} {density:.0%} living" if density < 1 else f"{name} dense"


def _short(band: Sequence[float] | None, unit: str) -> str:
    return "" if band is None else f"({quantity(band[0], unit)}-{quantity(band[1], unit)})".replace(" ", "")


def _quartiles(row: Mapping[str, Any]) -> str:
    return f"{quantity(row['q1'], row['unit'])} to {quantity(row['q3'], row['unit'])}"


def _ratio(row: Mapping[str, Any]) -> str:
    return "" if row.get("ratio") is None else f"{row['ratio']:.2f}x"


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Bars with quartiles, or devices side by side with their bands, as PNG, SVG or PDF by the name's ending. Needs the
    extra ``report``."""
    require("matplotlib", "report").use("Agg")
    import matplotlib.pyplot as plt

    draw = _plot_devices if "device" in record["rows"][0] else _plot_bars
    figure = draw(plt, record)
    figure.suptitle(f"{record['bench']} (baseline: {record['baseline']})", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _plot_bars(plt: Any, record: Mapping[str, Any]) -> Any:
    """A panel per unit, a bar a row."""
    units = list(dict.fromkeys(r["unit"] for r in record["rows"]))
    panels = [[r for r in record["rows"] if r["unit"] == unit] for unit in units]
    heights = [len(rows) + 1.5 for rows in panels]
    figure, axes = plt.subplots(len(panels), figsize=(8, 1 + 0.3 * sum(heights)), height_ratios=heights, squeeze=False)
    for unit, rows, ax in zip(units, panels, axes[:, 0]):
        values, names = [r["median"] for r in rows], [_name(r) for r in rows]
        spread = [[max(r["median"] - r["q1"], 0) for r in rows], [max(r["q3"] - r["median"], 0) for r in rows]]
        ax.barh(range(len(rows)), values, xerr=spread, color=["#9ab" if "torch" in n else "#357" for n in names])
        ax.set_yticks(range(len(rows)), names, fontsize=8)
        ax.invert_yaxis()
        if max(values) > 50 * max(min(values), 1e-12):
            ax.set_xscale("log")
        ax.set_xlabel(f"{unit}, median and quartiles")
    return figure


def _plot_devices(plt: Any, record: Mapping[str, Any]) -> Any:
    """A panel per network and operation, a line a device, a mark an engine and density, with its band."""
    rows = record["rows"]
    name, unit = ("joules", "J") if record["bench"] == "energy" else ("seconds", "s")
    panels = list(dict.fromkeys((r["net"], r["operation"]) for r in rows))
    devices = list(dict.fromkeys(r["device"] for r in rows))
    engines = list(dict.fromkeys((r["engine"], r["density"]) for r in rows))
    size = (1.5 + 5 * len(panels), 1.6 + 0.35 * len(devices))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for (net, operation), ax in zip(panels, axes[0]):
        for i, engine in enumerate(engines):
            mine = [
                r for r in rows
                if (r["net"], r["operation"], r["engine"], r["density"]) == (net, operation, *engine) and r[name]
            ]  # fmt: skip
            places = [devices.index(r["device"]) + 0.15 * (i - (len(engines) - 1) / 2) for r in mine]
            bands = [[r[name] - r[f"{name}_band"][0] for r in mine], [r[f"{name}_band"][1] - r[name] for r in mine]]
            ax.errorbar([r[name] for r in mine], places, xerr=bands, fmt="o", ms=4, lw=1, label=_engine(*engine))
        ax.set_yticks(range(len(devices)), devices, fontsize=8)
        ax.set_xscale("log")
        ax.set_xlabel(f"{unit} a step, modelled, with band")
        ax.set_title(f"{net}, {operation}", fontsize=9)
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(fontsize=7)
    return figure


def _name(row: Mapping[str, Any]) -> str:
    return row["what"] if "what" in row else f"{row['net']} {row['operation']}, {row['engine']} {row['density']:g}"
