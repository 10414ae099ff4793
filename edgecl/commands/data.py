"""`edgecl data`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import typer

from ..config import DATA_OPTIONS, Config
from ..data import configured_stream, fetch_stream_data, list_streams
from ..data.gate import Refused
from ..errors import EdgeclError
from .options import ConfigCommand, with_config_options
from .show import print_table, print_text
from .understood import to_json, understood

SHOWN = 30  # classes in a table

app = typer.Typer(help="Streams, their data sets, and data of your own.", no_args_is_help=True)


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


def check(
    options: dict[str, Any],
    path: str = typer.Argument(..., help="a folder, an .npz file, a table"),
    as_json: bool = typer.Option(False, "--json", help="print JSON"),
) -> int:
    """The gate alone; status 2 where the data is refused."""
    try:
        stream = _own_stream(options, path)
    except EdgeclError as error:
        if not as_json:
            raise
        facts = error.facts if isinstance(error, Refused) else dict.fromkeys(("kind", "samples", "classes", "shape"))
        refused = {"cause": error.cause, "remedy": error.remedy}
        print(json.dumps({"left_out": {}, "warnings": [], **facts, "refused": refused}, indent=1))
        return 2
    if as_json:
        print(json.dumps(to_json(stream), indent=1))
        return 0
    for line in understood(stream.about):
        print_text(line)
    counts = stream.about.get("labels", {})
    rows = [[label, str(n)] for label, n in list(counts.items())[:SHOWN]]
    print_table(["class", "samples"], rows)
    if len(counts) > SHOWN:
        print_text(f"and {len(counts) - SHOWN} more classes")
    rows = [[task.name, str(len(task.train)), str(len(task.test))] for task in stream.tasks[:SHOWN]]
    print_table(["task", "train", "test"], rows)
    return 0


def _own_stream(options: dict[str, Any], path: str) -> Any:
    if not Path(path).exists():  # a stream's name is none of the user's own data
        path = str(Path(path).absolute())
    stream = configured_stream(Config.make({**options, "stream": path}))
    stream.close()
    return stream


def preview(
    options: dict[str, Any],
    path: str = typer.Argument(..., help="a folder, an .npz file, a table, or a stream's name"),
    out: str = typer.Option("sheet.png", "--out", metavar="FILE", help="where to draw"),
) -> None:
    """A sheet of samples per class, as a network would be shown them."""
    from ..data.preview import draw_sheet

    stream = configured_stream(Config.make({**options, "stream": path}))
    lines = understood(stream.about)
    shown = draw_sheet(stream, Path(out), f"{stream.name}: {stream.about.get('line', '')}")
    stream.close()
    for line in lines:
        print_text(line)
    print_text(f"{out}: samples of {shown} of {stream.class_count} classes")


app.command("check", cls=ConfigCommand, help="Say what a run would understand of your data; train nothing.")(
    with_config_options(check, DATA_OPTIONS)
)
app.command("preview", cls=ConfigCommand, help="Draw a sheet of samples per class; train nothing.")(
    with_config_options(preview, DATA_OPTIONS)
)
