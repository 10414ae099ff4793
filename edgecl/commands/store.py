"""`edgecl store`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ..errors import BadInput
from .show import print_table

app = typer.Typer(help="The sample store on flash.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps `verify` a subcommand."""


@app.command("verify", help="Read every record and check it. Exit status 0 when the store is sound, 1 when not.")
def verify(
    folder: str = typer.Argument(..., metavar="DIR"),
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
) -> int:
    from ..storage import SampleStore

    if not Path(folder).is_dir():
        raise BadInput(f"'{folder}' is not a folder.", "Give the --store folder of a run.")
    with SampleStore(folder, read_only=True) as store:
        damaged = store.verify()
        stats = store.stats()
    if as_json:
        listed = [{"id": d.id, "file": str(d.file), "offset": d.offset, "reason": d.reason} for d in damaged]
        print(json.dumps({"sound": not damaged, "damaged": listed, **stats}, indent=1, default=str))
    else:
        print(f"{stats['samples']} samples, {stats['flash_bytes'] / 1e6:.1f} MB, {len(damaged)} damaged records")
        if damaged:
            rows = [[str(d.id), str(d.file), str(d.offset), d.reason] for d in damaged]
            print_table(["id", "file", "offset", "reason"], rows)
    return 1 if damaged else 0
