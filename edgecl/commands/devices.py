"""`edgecl devices`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import typer

from ..devices import Figure, Profile, list_profiles, load_profile
from .places import existing_folder, writable_file
from .show import print_table, print_text

HOT_SECONDS = 600.0

app = typer.Typer(help="Device profiles: what a step would take there.", invoke_without_command=True)


@app.callback()
def default(context: typer.Context) -> None:
    """List the profiles when no subcommand is named."""
    if context.invoked_subcommand is None:
        show_list(False)


@app.command("list", help="List the device profiles.")
def list_command(as_json: bool = typer.Option(False, "--json", help="print JSON")) -> None:
    show_list(as_json)


@app.command("show", help="Show a profile, every figure with its mark and source.")
def show(name: str, as_json: bool = typer.Option(False, "--json", help="print JSON")) -> None:
    profile = load_profile(name)
    if as_json:
        print(json.dumps(plain(profile), indent=1))
        return
    print(f"{profile.name}: {profile.title}")
    table = plain(profile)
    table.pop("kernels")
    print_table(["figure", "value", "mark", "source"], figures(table))
    print()
    print_text("Share of the FMA peak that our kernels reach, at 256 output positions (or as few as the class has):")
    print_table(["layer class", "dense", "at 10 %", "mark"], kernel_rows(profile))
    print_text(next(iter(profile.kernels.values())).source)


def kernel_rows(profile: Profile) -> list[list[str]]:
    """A row per class of kernel with FLOPs."""
    return [
        [f"{kind} {phase}", *(f"{1 / r.reciprocal(kind, d, 256):.2f}" for d in (1.0, 0.1)), r.mark]
        for (kind, phase), r in profile.kernels.items()
        if phase != "all"
    ]


CALIBRATE = """Measure this machine; it is 'host' from then on. Takes minutes, and half of the RAM at most.

What is not measured (on a board without a power sensor, say) stays as the shipped profile of the board has it."""


@app.command("calibrate", help=CALIBRATE)
def calibrate_command(
    out: str = typer.Option("", "--out", help="also write the profile as a TOML file"),
    folder: str = typer.Option(".", "--disk", help="folder on the disk to measure"),
    hot: bool = typer.Option(False, "--hot", help="also 10 minutes with all cores busy: what speed is left then"),
) -> None:
    from ..devices.calibration.machine import calibrate

    if out:
        writable_file(out)
    existing_folder(folder)
    start = time.monotonic()
    profile = calibrate(
        Path(out) if out else None, Path(folder), lambda text: print(f"measuring: {text}", file=sys.stderr, flush=True),
        HOT_SECONDS if hot else 0.0,
    )  # fmt: skip
    model = profile.figures["model"]
    print(f"{profile.title}: done in {time.monotonic() - start:.0f} s")
    low, high = model["band_low"].value, model["band_high"].value
    print(f"band of a step's seconds: {low:.2f} to {high:.2f} times the prediction")
    marks = {f.mark for f in profile.figures["power"].values() if f.source.startswith("edgecl devices calibrate")}
    unknown = "no sensor here, so joules are unknown"
    known = "no sensor here; as the shipped profile of the board has it" if profile.figures["power"] else unknown
    print(f"power: {'measured' if marks else known}")
    if hot:
        print(f"of its speed {profile.figures['thermal']['sustained'].value:.0%} is left after {HOT_SECONDS:.0f} s")
    if out:
        print(f"wrote {out}; use it with --device {out}")


@app.command("report", help="Write what this machine is and what was measured on it, to send to others (JSON).")
def report_command(
    out: str = typer.Option("device_report.json", "--out", metavar="FILE", help="where to"),
) -> None:
    from ..devices.report import device_report

    writable_file(out)
    found = device_report(plain(load_profile("host")))
    Path(out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out}: {found['profile']['title']}")
    if not found["calibrated"]:
        print("Its kernels were not timed yet: 'edgecl devices calibrate' first makes it worth more to others.")
    print("It names no person, folder, network or serial number. How to send it: docs/device_reports.md")


@app.command("table", help="Four learning tasks on every device: seconds, joules, RAM, flash. All modelled.")
def table_command(
    devices: str = typer.Option("all", "--devices", help="names with commas, or all"),
    out: str = typer.Option("", "--out", help="write devices.md and devices.json into this folder"),
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
) -> None:
    from ..devices.overview import markdown, rows

    names = [n for n in list_profiles() if n != "host"] if devices == "all" else devices.split(",")
    found = rows(names)
    text = markdown(found, f"edgecl devices table --devices {devices}" if devices != "all" else "edgecl devices table")
    if out:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "devices.json").write_text(json.dumps({"schema": "edgecl.devices/1", "rows": found}, indent=1) + "\n")
        (folder / "devices.md").write_text(text)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print(f"wrote {folder / 'devices.md'} and {folder / 'devices.json'}" if out else text)


def show_list(as_json: bool) -> None:
    profiles = [load_profile(name) for name in list_profiles() if name != "host"]
    if as_json:
        print(json.dumps([plain(p) for p in profiles], indent=1))
        return
    rows = [[p.name, p.title, str(p.cores), f"{p.memory_bytes / 2**20:.0f} MiB"] for p in profiles]
    print_table(["name", "device", "cores", "memory"], rows)
    print("'host' is this machine, calibrated on first use. Figures and sources: edgecl devices show NAME")


def plain(value: Any) -> Any:
    """A profile as plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def figures(profile: Any, place: str = "") -> list[list[str]]:
    """Rows of (place, value, mark, source) for everything that carries a mark."""
    rows: list[list[str]] = []
    if isinstance(profile, dict):
        if {"value", "mark", "source"} <= profile.keys():
            value, unit = profile["value"], profile.get("unit") or ""
            shown = quantity(value, unit) if isinstance(value, (int, float)) else str(value)
            return [[place, shown.rstrip(), str(profile["mark"]), str(profile["source"])]]
        for key, item in profile.items():
            rows += figures(item, f"{place}.{key}" if place else key)
    elif isinstance(profile, list):
        for i, item in enumerate(profile):
            if isinstance(item, list) and len(item) == 2 and isinstance(item[0], (int, float)):
                rows += figures(item[1], f"{place}[{item[0]:g}]")  # by threads or bytes
            else:
                rows += figures(item, f"{place}[{i}]")
    return rows


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, large ones in the usual multiples."""
    if unit in ("B", "B/s"):
        for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if value >= scale:
                return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:g} {unit}"


__all__ = ["Figure", "Profile", "app"]
