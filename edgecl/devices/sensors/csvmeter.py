"""An external meter that appends rows to a CSV file while we run."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from .base import EnergySensor, Sample, SensorError

TIME = ("time", "timestamp", "seconds", "t")
WATTS = ("watts", "watt", "power", "power_w", "w")
VOLTS = ("volts", "volt", "voltage", "voltage_v", "v")
AMPERES = ("amps", "amperes", "ampere", "current", "current_a", "a")
STALE = 30  # readings without a new row before the meter counts as silent


class CsvMeter(EnergySensor):
    """Reads what is appended to ``path`` from now on.

    The first line names the columns: a time in seconds of any clock (``time``, ``timestamp`` ...) and ``watts`` (or
    ``power``), or ``volts`` and ``amps``. Joules are the area under the rows; a row that is being written waits.
    """

    boundary = "external meter"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = f"csv:{self.path}"
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                head = next(csv.reader([file.readline()]), [])
                self._start = file.tell()
                file.seek(0, 2)
                self._offset = file.tell()
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SensorError(f"The meter's file {self.path} cannot be read: {error}.", "Start its logger.") from error
        names = [name.strip().lower() for name in head]
        self._time, self._watts = _find(names, TIME), _find(names, WATTS)
        self._volts, self._amperes = _find(names, VOLTS), _find(names, AMPERES)
        if self._time is None or (self._watts is None and (self._volts is None or self._amperes is None)):
            raise SensorError(
                f"{self.path} has the columns {', '.join(names) or 'none'}.",
                "Name a time and watts, or volts and amps, in the first line.",
            )
        self._joules, self._silent = 0.0, 0
        self._last: tuple[float, float] | None = None  # time and watts of the latest row

    def read(self) -> Sample:
        rows = self._new_rows()
        self._silent = 0 if rows else self._silent + 1
        if self._silent > STALE:
            raise SensorError(f"{self.path} has had no new row for {self._silent} readings.", "Is its logger running?")
        for time, watts in rows:
            if self._last is not None and time > self._last[0]:
                self._joules += (time - self._last[0]) * (watts + self._last[1]) / 2
            self._last = (time, watts)
        return Sample(joules=self._joules)

    def _new_rows(self) -> list[tuple[float, float]]:
        try:
            if self.path.stat().st_size < self._offset:  # the logger began anew
                self._offset, self._last = self._start, None
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError as error:
            raise SensorError(f"{self.path} cannot be read: {error.strerror or error}.", "Start its logger.") from error
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = [self._row(row) for row in csv.reader(whole.decode("utf-8", "replace").splitlines())]
        return [row for row in found if row is not None]

    def _row(self, row: list[str]) -> tuple[float, float] | None:
        """(seconds, watts), or None for a line that is not one."""
        try:
            assert self._time is not None
            time = float(row[self._time])
            if self._watts is not None:
                watts = float(row[self._watts])
            else:
                assert self._volts is not None and self._amperes is not None
                watts = float(row[self._volts]) * float(row[self._amperes])
        except (ValueError, IndexError):
            return None
        return (time, watts) if math.isfinite(time) and math.isfinite(watts) else None


def _find(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
