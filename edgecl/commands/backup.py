"""`edgecl backup` and `edgecl restore`."""

from __future__ import annotations

import json

import typer

from .show import print_text

HELP = """Write a saved learner, its store and settings to one file.

The learner must not be open. Of an encrypted one everything stays encrypted; keep its root key beside."""
RESTORE = """Bring a learner back from a backup into a new folder, on this machine or another one."""
JSON = typer.Option(False, "--json", help="print JSON")


def command(
    file: str = typer.Argument(..., metavar="FILE", help="the backup to write"),
    saved: str = typer.Option(..., "--saved", metavar="DIR", help="the folder that the learner was saved to"),
    store: str = typer.Option(None, "--store", metavar="DIR", help="where its store lies now"),
    as_json: bool = JSON,
) -> None:
    from ..backup import backup

    done = backup(file, saved, store)
    if as_json:
        print(json.dumps(done))
    else:
        print_text(f"{done['file']}: {done['files']} files, {done['bytes'] / 1e6:.2f} MB")


def restore(
    file: str = typer.Argument(..., metavar="FILE", help="the backup to read"),
    to: str = typer.Option(..., "--to", metavar="DIR", help="a new folder"),
    as_json: bool = JSON,
) -> None:
    from ..backup import restore as bring_back

    done = bring_back(file, to)
    if as_json:
        print(json.dumps(done))
    else:
        print_text(f"{done['files']} files. Open it with Learner.open('{done['saved']}')")
