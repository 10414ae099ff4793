"""`edgecl run`."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import typer

from ..report.table import run_table
from .options import with_config_options
from .progress import make_listener

HELP = """Train a stream task by task and write a record.

Examples:

  edgecl run --stream split-mnist5k --method er

  edgecl run --method der++ --sparsity 0.9 --gradient-keep 0.8 --remove 0.3 --store store --ram 96MB --out run1

  edgecl run --resume run1

Options that are not given come from the stream, then from the defaults shown. A run that reaches a budget ends in
order with exit status 0 and says why; Ctrl-C ends it with 130, and --resume continues it."""


@with_config_options
def command(
    options: dict[str, Any],
    resume: str = typer.Option(None, "--resume", metavar="DIR", help="continue the run whose --out folder this was"),
    as_json: bool = typer.Option(False, "--json", help="print the run record instead of a table"),
) -> int:
    """Run, show, and return the exit status."""
    from ..run import run

    with stop_on_interrupt() as stop:
        with make_listener(quiet=as_json) as listen:
            record = run(
                options,
                command=shlex.join(["edgecl", *sys.argv[1:]]),
                listen=listen,
                stop=stop,
                resume=resume,
            )
    if as_json:
        print(json.dumps(record, indent=1))
    else:
        print(run_table(record))
    out = record["config"]["out"]
    if out is not None:
        page = write_page(Path(out))
        if not as_json:
            print(f"record: {Path(out) / 'run.json'}" + (f"   page: {page}" if page else ""))
    return 130 if record["status"]["reason"] == "interrupted" else 0


def write_page(out: Path) -> Path | None:
    """`report.html` beside the record, when matplotlib is there; in a child process, so that our memory stays as it was."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return None
    page = out / "report.html"
    done = subprocess.run(
        [sys.executable, "-m", "edgecl.report.html", str(out / "run.json"), str(page)], capture_output=True, check=False
    )
    return page if done.returncode == 0 else None


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once."""
    stop = Event()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nstopping after this step (Ctrl-C again to stop at once)", file=sys.stderr)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
