"""What `edgecl run` does once its options are read: train, show, write. Imports nothing of the command
line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

from ..child import python_command
from ..report.table import run_table
from ..run import run
from .progress import make_listener
from .refusal import guarded

PAGE_NEEDS = 400_000_000  # bytes: matplotlib's process beside ours


def train(job: Mapping[str, Any]) -> int:
    """Run ``job`` (options, use, resume, json, command); the exit status."""
    with stop_on_interrupt() as stop, make_listener(quiet=job["json"]) as listen:
        where = {"resume": job["resume"], "use": job.get("use", ())}
        record = run(job["options"], command=job["command"], listen=listen, stop=stop, **where)
    out = record["config"]["out"]
    try:
        print(json.dumps(record, indent=1) if job["json"] else run_table(record), flush=True)
    finally:  # also when the reader of our output is gone
        page = None if out is None else write_page(Path(out))
    if out is not None and not job["json"]:
        print(f"record: {Path(out) / 'run.json'}" + (f"   page: {page}" if page else ""))
    return 130 if record["status"]["reason"] == "interrupted" else 0


def write_page(out: Path) -> Path | None:
    """`report.html` beside the record where matplotlib is installed and a control group leaves room for it; in a
    child, so that our peak stays ours."""
    from importlib.util import find_spec

    from ..devices.cgroup import memory_limit

    limit = memory_limit()
    if find_spec("matplotlib") is None or (limit is not None and limit[0] < PAGE_NEEDS):
        return None
    page = out / "report.html"
    command = python_command("edgecl.report.html", str(out / "run.json"), str(page))
    return page if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once."""
    stop = Event()

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
