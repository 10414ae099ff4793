"""`edgecl data`."""

from __future__ import annotations

import dataclasses
import json

import typer

from ..data import fetch_stream_data, list_streams
from .show import print_table

app = typer.Typer(help="Streams and their data sets.", no_args_is_help=True)


@app.command("list", help="List the streams.")
def list_command(as_json: bool = typer.Option(False, "--json", help="print JSON")) -> None:
    streams = list_streams()
    if as_json:
        print(json.dumps([dataclasses.asdict(s) for s in streams], indent=1))
        return
    rows = [
        [s.name, str(s.tasks), "x".join(map(str, s.input_shape)), f"{s.train_size}+{s.test_size}",
         f"{s.download_bytes / 1e6:.1f} MB", "yes" if s.cached else "no", s.summary]
        for s in streams
    ]  # fmt: skip
    print_table(["stream", "tasks", "sample", "train+test", "download", "here", "what"], rows)


@app.command("get", help="Fetch a stream's data set into the cache folder, checked by sha256.")
def get(
    name: str,
    source: str = typer.Option(None, "--from", metavar="DIR", help="take the distribution's files from this folder"),
) -> None:
    print(fetch_stream_data(name, source))
