"""`edgecl compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..report.groups import csv_text, group_table, grouped
from ..report.record import read_record
from ..report.table import comparison, summary
from .places import writable_file
from .show import print_table

HELP = """Show runs side by side. Runs that differ by their seed only are one column: mean, interval, paired difference.

  edgecl compare naive/run.json sparcl/run.json --html both.html"""


def command(
    records: Annotated[list[str], typer.Argument(metavar="RUN.json...")],
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
    html: str = typer.Option("", "--html", metavar="FILE", help="write a page"),
    csv: str = typer.Option("", "--csv", metavar="FILE", help="write a line a run"),
) -> None:
    for file in (html, csv):
        if file:
            writable_file(file)
    found = [(path, read_record(path)) for path in records]
    groups = grouped(found)
    if html:
        from ..report.compare_page import compare_page

        Path(html).write_text(compare_page(groups), encoding="utf-8")
    if csv:
        Path(csv).write_text(csv_text(groups), encoding="utf-8")
    if as_json:
        print(json.dumps([{"run": path, **summary(record)} for path, record in found], indent=1))
        return
    print_table(*(group_table(groups) if len(groups) < len(found) else comparison(found)))
    written = [f"page: {html}"] * bool(html) + [f"csv: {csv}"] * bool(csv)
    if written:
        print("   ".join(written))
