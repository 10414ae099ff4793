"""Life: what the loop looks after by its clock while the service runs."""

from __future__ import annotations

import logging
import time

from .notify import watchdog_seconds
from .service import Service
from .watchdog import Watchdog

LOG = logging.getLogger("edgecl.service")
TICK = 1.0
JUMP = 60.0


class Progress:
    """What a `Watchdog` looks at, of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def busy(self) -> str | None:
        return self._service.work.busy

    @property
    def since(self) -> float:
        return self._service.work.since

    @property
    def steps(self) -> int:
        return self._service.held.steps

    @property
    def resting(self) -> bool:
        return self._service.held.resting

    @property
    def flushing_since(self) -> float | None:
        return self._service.intake.flushing_since

    @property
    def step_seconds(self) -> float:
        return self._service.held.step_seconds


class Life:
    """Called often by the loop's timer: makes room for jobs, feeds the watchdog, notes health and leaps of time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watchdog = Watchdog(Progress(service), service.config.serve.stall)
        seconds = watchdog_seconds()
        self._period = None if seconds is None else seconds / 3
        self._beat = self._second = float("-inf")
        self._well = False
        self._offset = time.time() - time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self._service.work.nudge()
        if self._period is not None and now - self._beat >= self._period:
            self._beat = now
            self._watchdog.beat()
        if now - self._second >= TICK:
            self._second = now
            self._each_second(now)

    def _each_second(self, now: float) -> None:
        service = self._service
        offset = time.time() - now
        if abs(offset - self._offset) > JUMP:
            service.journal.write("clock", service.held.steps, jumped_seconds=round(offset - self._offset, 1))
        self._offset = offset
        if not self._well and now - service.began >= service.config.serve.healthy and service.safe is None:
            self._well = True
            service.boots.well()
        service.reserve.keep()
