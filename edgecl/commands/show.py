"""Tables of the commands that train nothing: drawn on a terminal, plain text for files and pipes."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from ..report.table import figure_columns, plain_table


def print_text(text: str) -> None:
    """A paragraph; wrapped on a terminal."""
    if sys.stdout.isatty():
        text = textwrap.fill(text, shutil.get_terminal_size().columns)
    print(text)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """``rows`` of text under ``head``; figures stand to the right. Long cells wrap on a terminal.

    `run` and `plan` do not use this: rich stays out of the process that trains, and that it is measured for.
    """
    if not sys.stdout.isatty():
        print(plain_table(head, rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, figure in zip(head, figure_columns(len(head), rows)):
        table.add_column(Text(name), justify="right" if figure else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
