"""Live progress, written to stderr: on a terminal one line that is rewritten, elsewhere a line an epoch.

Plain text: rich would take memory in the process that trains.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..learning.progress import Listener, Progress
from .refusal import show

REWRITE_SECONDS = 0.1
WIDE = 80  # columns from which the bar takes 20 of them, else 10


@contextmanager
def make_listener(quiet: bool = False) -> Iterator[Listener | None]:
    """A listener for `run`; nothing is shown when ``quiet``."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield by_epoch()
        return
    try:
        yield rewriting()
    finally:
        show("\r\x1b[2K")


def by_epoch() -> Listener:
    """One line at the first step of every epoch."""
    shown = (-1, -1)

    def listen(p: Progress) -> None:
        nonlocal shown
        if shown != (p.task, p.epoch):
            shown = (p.task, p.epoch)
            show("  ".join(facts(p)) + "\n")

    return listen


def rewriting() -> Listener:
    """A bar and the facts in one line, no wider than the terminal."""
    last = 0.0

    def listen(p: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REWRITE_SECONDS:
            last = now
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            show(f"\r\x1b[2K{live_line(p, columns)}")

    return listen


def live_line(p: Progress, columns: int) -> str:
    """``[####------]  45%  task 2/5 ...``: as many whole facts as fit in ``columns`` less one."""
    share = min(1.0, p.step / p.steps) if p.steps else 0.0
    bar = 20 if columns >= WIDE else 10
    done = int(share * bar)
    line = f"[{'#' * done}{'-' * (bar - done)}] {share:4.0%}"
    for fact in facts(p):
        if len(line) + 2 + len(fact) >= columns:
            break
        line += f"  {fact}"
    return line[: max(columns - 1, 0)]


def facts(p: Progress) -> list[str]:
    """Where the run is, what it has reached and what it has used; the most wanted first."""
    found = [f"task {p.task + 1}/{p.tasks}", f"epoch {p.epoch + 1}/{p.epochs}"]
    if p.accuracy is not None:
        found.append(f"accuracy {p.accuracy:.3f}")
    if p.resident_bytes:
        limit = "" if p.ram_limit is None else f" of {p.ram_limit / 1e6:.0f}"
        found.append(f"RAM {p.resident_bytes / 1e6:.0f}{limit} MB")
    if p.dense_flops:
        found.append(f"FLOPs {p.flops / p.dense_flops:.1%} of dense")
    return [*found, f"loss {p.loss:.3f}", f"step {p.step}/{p.steps}"]
