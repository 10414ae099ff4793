"""EnergyMeter: joules over a span of time from any sensor, with what could not be read made up and told."""

from __future__ import annotations

import time
from collections.abc import Callable

from .base import EnergySensor, SensorError


class EnergyMeter:
    """Call `poll` often, for instance before each step; the sensor is read no more often than it allows.

    Power is integrated between readings (trapezoid). While the sensor does not answer, the mean power so far stands
    in for it: ``estimated_seconds`` says for how long, and `source` says so too.
    joules : since the meter was made, plus ``start``
    """

    def __init__(self, sensor: EnergySensor, start: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.sensor, self.joules, self._clock = sensor, start, clock
        self.seconds = 0.0
        self.estimated_seconds = 0.0
        self.error: SensorError | None = None
        self._measured = self._measured_seconds = 0.0
        self._gap_joules = self._gap_seconds = 0.0  # estimated since the sensor stopped answering
        self._counter: float | None = None
        self._watts: float | None = None
        self._at = clock()
        self._read(0.0)

    def poll(self, force: bool = False) -> float:
        """Joules so far. ``force``: read now, whatever the sensor's interval (at the end of a span)."""
        now = self._clock()
        passed = now - self._at
        if passed > 0 and (force or passed >= self.sensor.interval):
            self._at = now
            self.seconds += passed
            self._read(passed)
        return self.joules

    @property
    def watts(self) -> float | None:
        """Mean power of what was measured."""
        return self._measured / self._measured_seconds if self._measured_seconds > 0 else None

    @property
    def unread(self) -> float:
        """Joules drawn since the last reading, at the mean power so far."""
        return (self.watts or 0.0) * max(self._clock() - self._at, 0.0)

    @property
    def source(self) -> str:
        if not self.estimated_seconds:
            return self.sensor.source
        share = self.estimated_seconds / self.seconds
        return f"{self.sensor.source}, {share:.0%} of the time estimated at its mean power"

    def _read(self, passed: float) -> None:
        try:
            sample = self.sensor.read()
        except SensorError as error:
            self.error = error
            made_up = passed * (self.watts or 0.0)
            self.joules += made_up
            self.estimated_seconds += passed
            self._gap_joules, self._gap_seconds = self._gap_joules + made_up, self._gap_seconds + passed
            self._watts = None  # the next reading of power opens a new span
            return
        gain = 0.0
        if sample.joules is not None:
            if self._counter is not None:  # it went on counting in a gap: what was made up is taken back
                gain = sample.joules - self._counter
                self.joules -= self._gap_joules
                self.estimated_seconds -= self._gap_seconds
                passed += self._gap_seconds
            self._counter = sample.joules
        else:
            assert sample.watts is not None
            before = sample.watts if self._watts is None else self._watts
            gain = passed * (before + sample.watts) / 2
            self._watts = sample.watts
        self.joules += gain
        self._measured += gain
        self._measured_seconds += passed
        self.error, self._gap_joules, self._gap_seconds = None, 0.0, 0.0
