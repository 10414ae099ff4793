"""What `edgecl run` does once its options are read: train, show, write. Imports nothing of the command
line."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..learning.stopping import StopFlag
from ..report.table import run_table
from ..run import run
from .progress import make_listener
from .refusal import guarded


def train(job: Mapping[str, Any]) -> int:
    """Run ``job`` (options, use, resume, json, command); the exit status."""
    with stop_on_interrupt() as stop, make_listener(quiet=job["json"]) as listen:
        where = {"resume": job["resume"], "use": job.get("use", ())}
        record = run(job["options"], command=job["command"], listen=listen, stop=stop, **where)
    out = record["config"]["out"]
    try:
        print(json.dumps(record, indent=1) if job["json"] else run_table(record), flush=True)
    finally:  # also when the reader of our output is gone
        page = None if job["json"] and out is None else write_page(record)
    if not job["json"]:
        places = [f"record: {Path(out) / 'run.json'}"] if out is not None else []
        print("   ".join([*places, *([f"page: {page}"] if page else [])]))
    return 130 if record["status"]["reason"] == "interrupted" else 0


def write_page(record: Mapping[str, Any]) -> Path | None:
    """The page beside the record or, of a person's own data without --out, in the present folder; None where nobody
    asked for one, or it cannot be written."""
    from ..report.page import run_page  # here: the run is over, and its peak measured

    out, stream = record["config"]["out"], Path(str(record["config"]["stream"]))
    if out is None and not stream.exists():
        return None
    page = Path(f"report-{stream.stem}.html") if out is None else Path(out) / "report.html"
    work = page.with_name(f".{page.name}.{os.getpid()}")
    try:
        work.write_text(run_page(record), encoding="utf-8")
        work.replace(page)
    except OSError:
        with suppress(OSError):
            work.unlink()
        return None
    return page


@contextmanager
def stop_on_interrupt() -> Iterator[StopFlag]:
    """A flag that the first Ctrl-C sets; the second one interrupts at once."""
    stop = StopFlag()

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with suppress(OSError):  # not by print: the interrupt may come within one, which refuses a second
            os.write(2, b"\nstopping after this step (Ctrl-C again to stop at once)\n")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def main() -> int:
    """Entry of the fresh process image."""
    return guarded(lambda: train(json.loads(sys.argv[1])))
