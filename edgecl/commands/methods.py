"""`edgecl methods`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from ..errors import BadInput, EdgeclError
from ..methods import METHODS
from ..planning.overview import extra_of
from ..report.ledger_rows import ledger_rows, verdict_of
from .refusal import show
from .show import print_table, print_text

HELP = """List the continual-learning methods: what each is for and what it takes.

Extra bytes and FLOPs of a step are beyond plain training of the default cnn in batches of 32, with a
memory of 500 pictures where the method keeps one, from the second task on. The verdict says how its
figures compare with other people's code (bench/ledger.py)."""
LEDGER = Path("bench") / "ledger.jsonl"


def command(
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
    ledger: str = typer.Option("", "--ledger", metavar="FILE", help="rows of bench/ledger.py; default: those here"),
) -> int:
    """A row for every method that can be imported; what cannot be is said."""
    failed = METHODS.load_all()
    rows = ledger_rows(_ledger(ledger))
    found = [_about(name, rows) for name, _ in METHODS.loaded()]
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        head = ["method", "for", "extra bytes", "extra FLOPs", "reference", "verdict"]
        print_table(head, [_cells(line) for line in found])
        print_text("extra: over plain training of the default cnn, batch 32; bytes hold the memory of samples")
    for error in failed:
        show(f"warning: {error.cause}\n")
    return 0


def _about(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    cls = METHODS.get(name)
    try:
        extra: Any = extra_of(name)
    except EdgeclError:  # one from outside that needs options of its own
        extra = None
    return {
        "name": name,
        "scenarios": list(cls.scenarios),
        "extra_bytes": None if extra is None else extra.bytes,
        "extra_flops": None if extra is None else extra.flops,
        "reference": cls.reference,
        "verdict": verdict_of(name, rows),
    }


def _cells(line: dict[str, Any]) -> list[str]:
    def short(value: int | None, unit: float, name: str) -> str:
        return "" if value is None else f"{value / unit:.2f} {name}"

    sizes = short(line["extra_bytes"], 1e6, "MB"), short(line["extra_flops"], 1e6, "M")
    return [line["name"], " ".join(line["scenarios"]), *sizes, line["reference"], line["verdict"]]


def _ledger(given: str) -> Path:
    """The file that was given, else that of the working folder, else that of the source tree."""
    if given:
        if not Path(given).is_file():
            raise BadInput(f"There is no file '{given}'.", "Give the ledger.jsonl that bench/ledger.py wrote.")
        return Path(given)
    return LEDGER if LEDGER.is_file() else Path(__file__).resolve().parents[2] / LEDGER
