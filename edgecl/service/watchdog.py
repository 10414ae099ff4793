"""Watchdog: tells systemd that the work moves, not merely that a timer does."""

from __future__ import annotations

import faulthandler
import logging
import sys
import time
from collections.abc import Callable
from typing import Protocol

from .notify import notify

LOG = logging.getLogger("edgecl.service")
LEAST_STALL, STEPS_OF_STALL = 30.0, 20
LONGEST_JOB = 3600.0  # of what does no training steps: saving, forgetting, copying
TRAINS = frozenset({"slice", "learn", "end-task", "finish", "task"})


class Watched(Protocol):
    """What is looked at. busy, since : kind of the work and when it began (monotonic), busy None when idle
    steps, resting : of training;  flushing_since : when a flush began that has not returned;  step_seconds : so far
    """

    @property
    def busy(self) -> str | None: ...
    @property
    def since(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def resting(self) -> bool: ...
    @property
    def flushing_since(self) -> float | None: ...
    @property
    def step_seconds(self) -> float: ...


class Watchdog:
    """stall : seconds without a step after which training counts as hung; None: 20 steps as they took so far, at
    least 30 s
    """

    def __init__(self, watched: Watched, stall: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched, self._stall, self._clock = watched, stall, clock
        self._steps, self._moved = -1, clock()
        self._said = False

    @property
    def stall(self) -> float:
        if self._stall is not None:
            return self._stall
        return max(LEAST_STALL, STEPS_OF_STALL * self._watched.step_seconds)

    def hung(self) -> str | None:
        """What does not move, or None."""
        w, now = self._watched, self._clock()
        busy, steps = w.busy, w.steps
        if busy is None or w.resting or steps != self._steps:
            self._steps, self._moved = steps, now
        flushing = w.flushing_since
        if flushing is not None and now - flushing > self.stall:
            return f"a flush has lasted {now - flushing:.0f} s"
        if busy is None:
            return None
        if busy not in TRAINS:
            self._moved = now
            return f"{busy} has lasted {now - w.since:.0f} s" if now - w.since > LONGEST_JOB else None
        still = now - max(self._moved, w.since)
        return f"no step for {still:.0f} s" if still > self.stall else None

    def beat(self) -> bool:
        """Tell systemd that all is well, if it is; otherwise, once, where every thread stands."""
        what = self.hung()
        if what is None:
            self._said = False
            notify("WATCHDOG=1")
            return True
        if not self._said:
            self._said = True
            LOG.error("hung: %s; systemd is no longer told that all is well", what, extra={"event": "hung"})
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
            sys.stderr.flush()
        return False
