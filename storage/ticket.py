"""Acknowledgement of appended samples: when a ticket's `wait` returns True they are on flash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from . import fork
from .errors import BadRecord, StoreDamaged, StoreError, UseAfterFork


class Ticket:
    """What `append` returns: ``ids`` (int64) of the samples and a way to wait until they are on flash."""

    __slots__ = ("_flusher", "_position", "ids")

    def __init__(self, ids: np.ndarray, flusher: Flusher, position: int) -> None:
        self.ids = ids
        self._flusher = flusher
        self._position = position

    @property
    def done(self) -> bool:
        """True once the samples are on flash."""
        return self._flusher.flushed >= self._position

    def wait(self, timeout: float | None = None) -> bool:
        """True once the samples are on flash, False after ``timeout`` seconds; the typed error if flushing
        failed.
        """
        return self._flusher.wait(self._position, timeout)


class Syncs(Protocol):
    def sync(self) -> None: ...


class Flusher:
    """Group commit. ``position`` counts appends, ``flushed`` those on flash.

    ``durable``: whoever waits flushes for everybody. ``batched:MS``: a thread flushes so often (`interval`) that every
    sample is on flash MS milliseconds after `append`, if a flush takes no longer than MS / 2 and than twice the one
    before it. Where it does, the window is longer by the time of that flush, and never shorter than two of them. A
    machine that does not run the thread for a while widens it by as much. Whoever waits asks the thread for a flush at
    once; those who come while one is under way share the next.
    """

    def __init__(self, durability: str, files: Callable[[], list[Syncs]]) -> None:
        self.window = parse_durability(durability)
        self.position = 0
        self.flushed = 0
        self.flushes = 0
        self.lock = threading.Lock()  # held while flushing and while the store changes files
        self._files = files
        self._guard = threading.Lock()  # an interrupt between taking a Condition and its block would keep it
        self._changed = threading.Condition(self._guard)
        self._error: StoreError | None = None
        self._closing = False
        self._asked = 0  # a position that somebody waits for
        self._born = fork.generation
        self._thread: threading.Thread | None = None
        if self.window is not None:
            self._thread = threading.Thread(target=self._run, name="edgecl-flush", daemon=True)
            self._thread.start()

    @property
    def sound(self) -> bool:
        return self._error is None

    def check(self) -> None:
        """Raises the error of an earlier flush or change: what it should have made durable may be gone."""
        if fork.generation != self._born:
            raise UseAfterFork("A store was used in a fork of its process.", "Open it in the process that uses it.")
        if self._error is not None:
            raise type(self._error)(self._error.cause, self._error.remedy) from self._error

    def give_up(self, error: StoreError) -> None:
        """Nothing is written from here on; `check` says why."""
        with self._guard:
            self._error = self._error or error
            self._changed.notify_all()

    def flush(self, position: int | None = None) -> None:
        """Returns when everything up to ``position`` (default: now) is on flash."""
        want = self.position if position is None else position
        with self.lock:
            self.check()
            if self.flushed >= want:
                return
            reached = self.position  # read before the flush: later appends may not be covered
            try:
                for file in self._files():
                    file.sync()
            except BaseException as error:
                known = isinstance(error, StoreError)
                self.give_up(error if known else StoreDamaged(f"A flush failed: {error!r}.", "Open the store again."))
                raise
            self.flushes += 1
            with self._guard:
                self.flushed = max(self.flushed, reached)
                self._changed.notify_all()

    def appended(self) -> int:
        """Called by the store after each append; the position to wait for."""
        self.position += 1
        return self.position

    def wait(self, position: int, timeout: float | None) -> bool:
        if self.flushed >= position:
            return True
        self.check()
        if self.window is None or self._closing:
            self.flush(position)
            return True
        with self._guard:
            self._asked = max(self._asked, position)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.flushed >= position or self._error is not None, timeout)
        if self.flushed >= position:
            return True
        self.check()
        return False

    def _run(self) -> None:
        assert self.window is not None
        began, took = time.monotonic(), 0.0
        while True:
            pause = began + interval(self.window, took) - time.monotonic()
            with self._guard:
                self._changed.wait_for(lambda: self._closing or self._asked > self.flushed, max(0.001, pause))
                if self._closing or self._error is not None:
                    return
            began = time.monotonic()
            if self.flushed < self.position:
                try:
                    self.flush()
                except BaseException:
                    return  # kept for the waiters and for the next append
                took = time.monotonic() - began

    def stop(self) -> None:
        """Ends the thread; nothing is flushed. A second call does nothing."""
        with self._guard:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def close(self) -> None:
        """Stops the thread and flushes the rest; where no change failed before, or what is in the files went through.
        
        """
        self.stop()
        if self._error is None:
            self.flush()
        elif self.flushed < self.position:  # appended, then a change failed: what stands in the files is sound
            for file in self._files():
                file.sync()


def interval(window: float, took: float) -> float:
    """Seconds from the beginning of a flush that took ``took`` to that of the next: what comes in just behind the
    first is on flash ``window`` later, even if the second takes twice as long. No shorter than half the window: every
    flush writes the last page again.
    """
    return max(window / 2, window - 2 * took)


def parse_durability(text: str) -> float | None:
    """Seconds between flushes, None for ``durable``. `BadRecord` for anything else."""
    if text == "durable":
        return None
    name, _, ms = text.partition(":")
    if name == "batched" and ms.replace(".", "", 1).isdigit() and 0 < float(ms) <= 3_600_000:
        return float(ms) / 1000
    raise BadRecord(
        f"Durability '{text}' is unknown.",
        "Use 'durable' or 'batched:MS' with MS milliseconds, e.g. batched:1000.",
    )
