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
from .show import print_table

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
    print_table(["figure", "value", "mark", "source"], figures(plain(profile)))


@app.command("calibrate", help="Measure this machine; it is 'host' from then on. Takes 1 to 2 minutes.")
def calibrate_command(
    out: str = typer.Option("", "--out", help="also write the profile as a TOML file"),
    folder: str = typer.Option(".", "--disk", help="folder on the disk to measure"),
) -> None:
    from ..devices.calibration.machine import calibrate

    start = time.monotonic()
    profile = calibrate(
        Path(out) if out else None, Path(folder), lambda text: print(f"measuring: {text}", file=sys.stderr, flush=True)
    )
    model = profile.figures["model"]
    print(f"{profile.title}: done in {time.monotonic() - start:.0f} s")
    low, high = model["band_low"].value, model["band_high"].value
    print(f"band of a step's seconds: {low:.2f} to {high:.2f} times the prediction")
    print(f"power: {'measured' if profile.figures['power'] else 'no sensor here, so joules are unknown'}")
    if out:
        print(f"wrote {out}; use it with --device {out}")


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
            shown = f"{value:g} {unit}" if isinstance(value, (int, float)) else str(value)
            return [[place, shown.rstrip(), str(profile["mark"]), str(profile["source"])]]
        for key, item in profile.items():
            rows += figures(item, f"{place}.{key}" if place else key)
    elif isinstance(profile, list):
        for i, item in enumerate(profile):
            rows += figures(item, f"{place}[{i}]")
    return rows


__all__ = ["Figure", "Profile", "app"]
