"""Inertial sensors: lines of numbers over a serial port, and the kernel's industrial I/O (IIO) devices."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError, require
from ..storage.bounded import read_bounded
from .base import Due, Frame, Taken
from .windows import Windows

LONGEST_LINE, BAD_LINES = 1024, 50  # bytes; lines in a row that cannot be used
GRAVITY = 9.80665  # m/s2 that IIO's accelerations are divided by: g, as the `hapt` streams have them
AXES = tuple(f"{kind}_{axis}" for kind in ("accel", "anglvel", "magn") for axis in "xyz")
PATIENCE = 1.0  # seconds of silence after which a port is looked at again


class Serial:
    """A line a moment, numbers with commas, blanks or tabs between them, as a microcontroller prints them.

    port : such as /dev/ttyUSB0;  baud : bits a second
    """

    def __init__(self, taken: Taken, port: str, baud: int) -> None:
        taken.check_signals()
        self._serial, self._port = require("serial", "serial"), port
        self._windows, self._channels = Windows(taken), taken.shape[0]
        try:
            self._open: Any = self._serial.Serial(port, baud, timeout=PATIENCE)
        except (OSError, ValueError) as error:  # pyserial's own are OSErrors
            raise BadInput(
                f"The port '{port}' cannot be opened: {error}.", "Is it plugged in, and may you use it (group dialout)?"
            ) from error

    def frames(self, due: Due) -> Iterator[Frame]:
        bad = 0
        while True:
            try:
                line = self._open.read_until(b"\n", LONGEST_LINE)
            except OSError as error:
                raise EdgeclError(f"The port '{self._port}' is gone: {error}.", "Is it plugged in?") from error
            if not line.endswith(b"\n"):
                continue  # silence, or the beginning of a line that is too long
            values = numbers(line, self._channels)
            if values is None:
                bad += 1
                if bad >= BAD_LINES:
                    raise EdgeclError(
                        f"'{self._port}' says no {self._channels} numbers a line: {line[:60]!r}.",
                        "Check --baud, and that a line has a number for each channel.",
                    )
                continue
            bad = 0
            self._windows.push(values[None])
            if self._windows.ready and due():
                yield self._windows.frame()

    def close(self) -> None:
        self._open.close()


def numbers(line: bytes, count: int) -> np.ndarray | None:
    """float32 [count] of a line; None where it does not hold so many finite numbers."""
    parts = re.split(rb"[,;\s]+", line.strip())
    if len(parts) != count:
        return None
    try:
        values = np.array([float(part) for part in parts])
    except ValueError:
        return None
    return values.astype(np.float32) if np.isfinite(values).all() and np.abs(values).max() < 1e30 else None


class Iio:
    """A sensor that the kernel knows, read ``rate`` times a second: accelerations in g, turns in rad/s.

    folder : such as /sys/bus/iio/devices/iio:device0;  channels : such as accel_x; None: all that it has
    """

    def __init__(self, taken: Taken, folder: str, rate: float, channels: tuple[str, ...] | None) -> None:
        self._folder, self._rate = Path(folder), rate
        if not self._folder.is_dir():
            raise BadInput(f"There is no sensor '{folder}'.", "Give /sys/bus/iio/devices/iio:device0, or yours.")
        wanted = channels or tuple(axis for axis in AXES if (self._folder / f"in_{axis}_raw").exists())
        for axis in wanted:
            if axis not in AXES or not (self._folder / f"in_{axis}_raw").exists():
                raise BadInput(f"The sensor '{folder}' has no channel '{axis}'.", f"Known: {', '.join(AXES)}.")
        taken.check_signals(len(wanted))
        self._windows = Windows(taken)
        self._channels = [(f"in_{a}_raw", self._figure(a, "offset", 0.0), self._factor(a)) for a in wanted]

    def _factor(self, axis: str) -> float:
        scale = self._figure(axis, "scale", 1.0)
        return scale / GRAVITY if axis.startswith("accel") else scale

    def _figure(self, axis: str, what: str, without: float) -> float:
        """Of one axis, or of all of its kind."""
        for name in (f"in_{axis}_{what}", f"in_{axis[:-2]}_{what}"):
            if (self._folder / name).exists():
                return self._read(name)
        return without

    def _read(self, name: str) -> float:
        try:
            value = float(read_bounded(self._folder / name, 64))
        except (OSError, ValueError) as error:
            raise EdgeclError(f"'{self._folder / name}' cannot be read: {error}.", "Is the sensor there?") from error
        if not np.isfinite(value):
            raise EdgeclError(f"'{self._folder / name}' says {value}.", "Is the sensor there?")
        return value

    def frames(self, due: Due) -> Iterator[Frame]:
        began, count = time.monotonic(), 0
        while True:
            values = [(self._read(name) + offset) * factor for name, offset, factor in self._channels]
            self._windows.push(np.array([values], np.float32))
            if self._windows.ready and due():
                yield self._windows.frame()
            count += 1
            time.sleep(max(0.0, began + count / self._rate - time.monotonic()))

    def close(self) -> None:
        pass
