"""Governor: slows, pauses and resumes training by temperature, battery and load, within limits the user sets.

It decides when a step begins, never what it computes: a governed run has the bits of an ungoverned one. Every
decision goes into the decision log with the step before which it was taken; a replay takes it from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput

RUN, SLOW, PAUSE = 0, 1, 2
NAMES = ("run", "slow", "pause")
INTERVAL = 1.0  # seconds between readings
REST = 1.0  # seconds of rest per second of work while slow: half speed
PREFIX = "governor "

Log = Callable[[int, str], None]  # (step, decision)


@dataclass(frozen=True)
class Limits:
    """temperature : highest, degrees Celsius;  battery : lowest charge 0..1 while discharging
    load : highest share 0..1 of all processors that others may take. None is no limit.
    """

    temperature: float | None = None
    battery: float | None = None
    load: float | None = None

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.temperature, self.battery, self.load))


@dataclass(frozen=True)
class Conditions:
    """What the sensors say; None where they say nothing. flags : of the firmware, as in `Throttling`."""

    temperature: float | None = None
    charge: float | None = None
    external: bool = False
    load: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Band:
    """Thresholds with hysteresis for a value that must not grow: slow at ``slow``, pause at ``pause``; a pause ends
    below ``resume``, slowness below ``release``."""

    slow: float
    pause: float
    resume: float
    release: float

    def level(self, value: float, level: int) -> int:
        """The next level after ``level``."""
        if value >= self.pause or (level == PAUSE and value >= self.resume):
            return PAUSE
        if value >= self.slow or (level >= SLOW and value >= self.release):
            return SLOW
        return RUN


def bands(limits: Limits) -> dict[str, Band]:
    """Thresholds by quantity; the battery's value is the missing charge."""
    found = {}
    if (t := limits.temperature) is not None:
        found["temperature"] = Band(slow=t - 5, pause=t, resume=t - 5, release=t - 8)
    if (b := limits.battery) is not None:
        found["battery"] = Band(*(round(at - b, 6) for at in (0.90, 1.0, 0.95, 0.87)))
    if (high := limits.load) is not None:
        found["load"] = Band(slow=high, pause=min(high + 0.25, 0.98), resume=high, release=high - 0.1)
    return found


class Governor:
    """Call `before_step` before and `after_step` after every step.

    read : the present conditions;  log : takes (step, decision)
    wait : sleeps so many seconds, returns early when the run is to stop;  replay : decisions of an earlier run, which
        then stand for the sensors; their waiting is not repeated
    waited : seconds slept so far;  slowed : steps taken slowly;  pauses : times it paused
    """

    def __init__(
        self,
        limits: Limits,
        read: Callable[[], Conditions],
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
        replay: Iterable[tuple[int, int, str]] | None = None,
    ) -> None:
        self.limits, self._bands = limits, bands(limits)
        self._read, self._log, self._clock, self._wait = read, log, clock, wait
        self._levels = dict.fromkeys(self._bands, RUN)
        self._replay = None if replay is None else governed(replay)
        self._replayed = 0
        self._next = float("-inf")
        self.level = RUN
        self.waited = 0.0
        self.slowed = self.pauses = 0
        self.highest_temperature: float | None = None

    def before_step(self, step: int, stopping: Callable[[], bool], on_pause: Callable[[], None] = lambda: None) -> None:
        """Decide, and stay here while paused. ``on_pause`` is called once when a pause begins (to save)."""
        if self._replay is not None:
            while self._replayed < len(self._replay) and self._replay[self._replayed][0] <= step:
                self._enter(step, *self._replay[self._replayed][1:])
                self._replayed += 1
            return
        self._decide(step)
        if self.level == PAUSE:
            on_pause()
        while self.level == PAUSE and not stopping():
            self._rest(INTERVAL)
            self._decide(step)

    def after_step(self, seconds: float) -> None:
        """Rest after a slow step that took ``seconds``."""
        if self.level == SLOW:
            self.slowed += 1
            if self._replay is None:
                self._rest(REST * seconds)

    def _rest(self, seconds: float) -> None:
        began = self._clock()
        self._wait(seconds)
        self.waited += self._clock() - began

    def _decide(self, step: int) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + INTERVAL
        c = self._read()
        if c.temperature is not None:
            self.highest_temperature = max(c.temperature, self.highest_temperature or c.temperature)
        wanted, why = self._flags(c)
        for name, band in self._bands.items():
            level, text = self._judge(name, band, c)
            self._levels[name] = level
            if level > wanted or not why:
                wanted, why = max(wanted, level), text
        if wanted != self.level:
            self._enter(step, wanted, why)

    def _judge(self, name: str, band: Band, c: Conditions) -> tuple[int, str]:
        """(level, reason) of one quantity. One that is not known any more slows: it cannot be trusted to be low."""
        if name == "battery":
            if c.external:
                return RUN, "external power"
            value = None if c.charge is None else round(1 - c.charge, 6)
            text = None if c.charge is None else f"battery {c.charge:.0%}, limit {self.limits.battery:.0%}"
        elif name == "temperature":
            value = c.temperature
            text = None if value is None else f"temperature {value:.1f} C, limit {self.limits.temperature:g} C"
        else:
            value = c.load
            if value is None:  # no time has passed since the last reading
                return self._levels[name], "load"
            text = f"load of others {value:.0%}, limit {self.limits.load:.0%}"
        if value is None or text is None:
            return SLOW, f"{name} is not known"
        return band.level(value, self._levels[name]), text

    @staticmethod
    def _flags(c: Conditions) -> tuple[int, str]:
        """Under-voltage corrupts cards: pause. A processor that throttles itself gains from a rest."""
        if "under-voltage" in c.flags:
            return PAUSE, "under-voltage"
        if {"throttled", "soft temperature limit"} & set(c.flags):
            return SLOW, "the processor is throttled"
        return RUN, ""

    def _enter(self, step: int, level: int, why: str) -> None:
        self.pauses += level == PAUSE
        self.level = level
        self._log(step, f"{PREFIX}{NAMES[level]}: {why}")

    # -- record and saved state

    def to_json(self) -> dict[str, Any]:
        """The record's ``governor``."""
        return {
            "max_temperature": self.limits.temperature,
            "min_battery": self.limits.battery,
            "max_load": self.limits.load,
            "slowed_steps": self.slowed,
            "pauses": self.pauses,
            "waited_seconds": self.waited,
            "highest_temperature": self.highest_temperature,
        }

    def state(self) -> dict[str, Any]:
        return {
            "slowed": self.slowed,
            "pauses": self.pauses,
            "waited": self.waited,
            "hot": self.highest_temperature,
            "replayed": self._replayed,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on counting from `state`. The pace is decided anew: the device has had time to cool. One that follows a
        log goes on in it."""
        self.slowed, self.pauses, self.waited = int(state["slowed"]), int(state["pauses"]), float(state["waited"])
        self.highest_temperature = state["hot"]
        self._replayed = int(state.get("replayed", 0))
        if self._replay and self._replayed:
            self.level = self._replay[self._replayed - 1][1]


def governed(log: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """(step, level, reason) of the governor's entries in a decision log, in order."""
    found = []
    for step, _, entry in log:
        if entry.startswith(PREFIX):
            name, _, why = entry.removeprefix(PREFIX).partition(": ")
            found.append((int(step), NAMES.index(name), why))
    return found


class Surroundings:
    """Reads the machine's sensors for a `Governor`, as far as ``limits`` ask. Raises `BadInput` for a limit whose
    sensor is not there."""

    def __init__(self, limits: Limits) -> None:
        from ..devices import sensors  # here: only a governed run pays for it

        self._sensors, self._limits = sensors, limits
        self._load = sensors.OtherLoad() if limits.load is not None else None
        if limits.temperature is not None and sensors.temperature() is None:
            raise BadInput("A highest temperature was set, and no sensor tells it.", "Drop --max-temperature.")
        if limits.battery is not None:
            battery = sensors.battery_state()
            if battery is None or (battery.charge is None and not battery.external):
                raise BadInput("A lowest battery charge was set, and there is no battery.", "Drop --min-battery.")

    def __call__(self) -> Conditions:
        s, limits = self._sensors, self._limits
        heat = s.temperature() if limits.temperature is not None else None
        battery = s.battery_state() if limits.battery is not None else None
        return Conditions(
            temperature=None if heat is None else heat[0],
            charge=None if battery is None else battery.charge,
            external=battery is not None and battery.external,
            load=None if self._load is None else self._load.read(),
            flags=s.throttling().now,
        )
