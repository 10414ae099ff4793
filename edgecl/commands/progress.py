"""Live progress: a line that is rewritten on a terminal, one line an epoch elsewhere. Written to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..run import Listener, Progress

REWRITE_SECONDS = 0.1


@contextmanager
def make_listener(quiet: bool = False) -> Iterator[Listener | None]:
    """A listener for `run`; nothing is shown when ``quiet``."""
    if quiet:
        yield None
        return
    terminal = sys.stderr.isatty()
    last: dict[str, object] = {"epoch": None, "time": 0.0}

    def listen(p: Progress) -> None:
        if terminal:
            now = time.monotonic()
            if now - float(str(last["time"])) >= REWRITE_SECONDS:
                last["time"] = now
                print(f"\r\x1b[2K{line(p)}", end="", file=sys.stderr, flush=True)
        elif last["epoch"] != (p.task, p.epoch):
            last["epoch"] = (p.task, p.epoch)
            print(line(p), file=sys.stderr, flush=True)

    try:
        yield listen
    finally:
        if terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def line(p: Progress) -> str:
    """One line: where the run is, what it has reached and what it has used."""
    parts = [
        f"task {p.task + 1}/{p.tasks}",
        f"epoch {p.epoch + 1}/{p.epochs}",
        f"step {p.step}/{p.steps}",
        f"loss {p.loss:.3f}",
    ]
    if p.accuracy is not None:
        parts.append(f"accuracy {p.accuracy:.3f}")
    if p.resident_bytes:
        limit = "" if p.ram_limit is None else f" of {p.ram_limit / 1e6:.0f}"
        parts.append(f"RAM {p.resident_bytes / 1e6:.0f}{limit} MB")
    if p.dense_flops:
        parts.append(f"FLOPs {p.flops / p.dense_flops:.1%} of dense")
    return "  ".join(parts)
