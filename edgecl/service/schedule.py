"""Schedule: when the daemon learns and saves of its own accord."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .config import Learn
from .held import Held

LEAST_STEPS = 20  # of a slice that is judged
LONGEST_PAUSE = 86400.0


class Schedule:
    """What is due now. ``pause`` holds learning; a model that got worse makes it wait longer each time.

    after_slice : called with the log of a slice;  checkpoint : saves the state
    """

    def __init__(
        self, held: Held, config: Learn, after_slice: Callable[[dict[str, Any]], None], checkpoint: Callable[[], Any]
    ) -> None:
        self._held, self.config = held, config
        self._after_slice, self._checkpoint = after_slice, checkpoint
        self.before_slice: Callable[[], None] = lambda: None
        self.paused = False
        self.held_by: str | None = None  # why nothing is learned, for people
        self._not_before, self._wait = 0.0, 0.0
        self._saved = time.monotonic()

    # -- what `WorkThread` asks

    def due(self) -> Callable[[], Any] | None:
        if self._held.unsaved and time.monotonic() - self._saved >= self.config.checkpoint_every:
            return self.save
        if self.wants_to_learn():
            return self.slice
        return None

    def interrupt(self) -> None:
        self._held.stop()

    # -- what it does

    def wants_to_learn(self) -> bool:
        if self.paused or self.held_by is not None or time.monotonic() < self._not_before:
            return False
        when = self.config.when
        if when == "manual" or not self._held.taken:
            return False
        if when.startswith("samples:"):
            return self._held.fresh >= int(when[8:])
        return True if when == "idle" else within_hours(when, time.localtime())

    def slice(self) -> dict[str, Any]:
        self.before_slice()
        log = self._held.learn(seconds=self.config.slice)
        if log["stopped"] is not None and "stop()" not in log["stopped"]:
            self.wait_longer()  # a budget, or a loss that was not finite: not again at once
        self._after_slice(log)
        return log

    def save(self) -> None:
        self._saved = time.monotonic()
        self._checkpoint()

    def saved_now(self) -> None:
        self._saved = time.monotonic()

    @property
    def since_saved(self) -> float:
        """Seconds since the state was last saved."""
        return time.monotonic() - self._saved

    def wait_longer(self) -> float:
        """Double the pause before the next slice, up to a day; its seconds."""
        self._wait = min(LONGEST_PAUSE, max(self.config.slice, 2 * self._wait))
        self._not_before = time.monotonic() + self._wait
        return self._wait

    def passed(self) -> None:
        """A slice did well: no more waiting."""
        self._wait, self._not_before = 0.0, 0.0

    @property
    def waits(self) -> float:
        """Seconds until the next slice may begin."""
        return max(0.0, self._not_before - time.monotonic())


def within_hours(hours: str, now: time.struct_time) -> bool:
    """Whether a time of day lies in HH:MM-HH:MM, which may go over midnight."""
    begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in hours.split("-"))
    minute = now.tm_hour * 60 + now.tm_min
    return begin <= minute < end if begin <= end else minute >= begin or minute < end
