"""`edgecl compare`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..report.record import read_record
from ..report.table import comparison, summary
from .show import print_table

HELP = """Show runs side by side.

  edgecl compare naive/run.json sparcl/run.json"""


def command(
    records: Annotated[list[str], typer.Argument(metavar="RUN.json...")],
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
) -> None:
    found = [(path, read_record(path)) for path in records]
    if as_json:
        print(json.dumps([{"run": path, **summary(record)} for path, record in found], indent=1))
        return
    print_table(*comparison(found))
