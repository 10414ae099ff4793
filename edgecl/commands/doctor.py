"""`edgecl doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from .places import existing_folder
from .show import print_table

HELP = """Look at this machine: what a run here can use and expect, and one remedy for every problem.

Measures the disk and a few training steps (some seconds) unless --quick is given."""


def command(
    disk: str = typer.Option(".", "--disk", metavar="DIR", help="folder on the disk a store would use"),
    quick: bool = typer.Option(False, "--quick", help="measure nothing"),
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
) -> int:
    """0, also where there are problems: they are in the answer."""
    from ..devices.doctor import examine

    existing_folder(disk)
    answer = examine(Path(disk), quick=quick)
    if as_json:
        print(json.dumps(answer, indent=1))
        return 0
    marks = {"ok": "", "note": "-", "problem": "!"}
    print_table(["", "what", "here"], [[marks[f["state"]], f["topic"], f["value"]] for f in answer["findings"]])
    problems = [f for f in answer["findings"] if f["state"] == "problem"]
    for f in problems:
        print(f"problem: {f['topic']}: {f['value']}\n  try: {f['remedy']}")
    if not problems:
        print("no problems found")
    return 0
