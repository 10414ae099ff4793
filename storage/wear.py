"""Flash wear: bytes written over the store's life and over the last day, a daily budget, and how long the card lasts.

Counted are the bytes the store hands to the file system (records, footers, headers, index pages). What the
file system and the flash controller add shows in `device_bytes_written` and is a figure of the device.
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from .errors import BadRecord

HOUR = 3600.0
_BINS = 25  # the hour that runs and the 24 before it: never less than a full day
_SAVED = struct.Struct(f"<dd{_BINS}Q")
_OPTIONAL = 0.8  # share of the daily budget after which optional writes stop
_RESERVE = 0.02  # share kept for commit points, which are always written


class WriteMeter:
    """Bytes written: ``total`` over the store's life and the last day in bins of an hour.

    limit: bytes a day, None for no budget; may be changed at any time. Elapsed time is taken from a clock
    that only goes forward; over a restart it is the wall clock's difference, never less than 0, so a clock
    that jumps back neither frees nor blocks anything.
    """

    def __init__(
        self,
        limit: int | None = None,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self.limit = limit
        self.total = 0
        self.declined = 0  # optional writes that were not done
        self._bins = [0] * _BINS  # newest first
        self._into = 0.0  # seconds of the newest bin that have passed
        self._wall, self._steady = wall, steady
        self._last = steady()

    @property
    def limit(self) -> int | None:
        """Bytes a day that may be written."""
        return self._limit

    @limit.setter
    def limit(self, value: int | None) -> None:
        if value is not None and value < 1:
            raise BadRecord(f"A daily write budget of {value} bytes.", "Use at least 1, or None for no budget.")
        self._limit = value

    def _pass(self, seconds: float) -> None:
        self._into += max(0.0, seconds)
        hours = int(self._into / HOUR)
        if hours:
            self._into -= hours * HOUR
            self._bins = ([0] * min(hours, _BINS) + self._bins)[:_BINS]

    def _tick(self) -> None:
        now = self._steady()
        self._pass(now - self._last)
        self._last = now

    def add(self, n: int) -> None:
        """``n`` bytes were handed to the file system."""
        self._tick()
        self.total += n
        self._bins[0] += n

    def take(self, other: WriteMeter) -> None:
        """``other`` ends, and what it counted counts here from now on."""
        other._tick()
        self._tick()
        self.total += other.total
        self._bins = [a + b for a, b in zip(self._bins, other._bins)]

    @property
    def last_day(self) -> int:
        """Bytes written in the last 24 hours (up to 25: bins of an hour)."""
        self._tick()
        return sum(self._bins)

    @property
    def room(self) -> int | None:
        """Bytes that may still be written now; None without a budget."""
        if self._limit is None:
            return None
        return max(0, int(self._limit * (1 - _RESERVE)) - self.last_day)

    def allows(self, n: int, optional: bool = False) -> bool:
        """Whether ``n`` more bytes fit the budget; an optional write leaves a fifth of it to the others."""
        if self._limit is None:
            return True
        share = _OPTIONAL if optional else 1 - _RESERVE
        return self.last_day + n <= self._limit * share

    def wait_seconds(self, n: int) -> float:
        """Seconds until ``n`` bytes fit the budget; 0 when they do, infinity when they never will."""
        if self.allows(n):
            return 0.0
        assert self._limit is not None
        left = sum(self._bins)
        for age in range(_BINS - 1, -1, -1):  # the oldest bin falls out first
            left -= self._bins[age]
            if left + n <= self._limit * (1 - _RESERVE):
                return (_BINS - age) * HOUR - self._into
        return math.inf

    def pack(self) -> bytes:
        """The state, for the index."""
        self._tick()
        return _SAVED.pack(self._wall(), self._into, *self._bins)

    def restore(self, raw: bytes) -> None:
        """Continues from `pack`; the time between counts as passed. Raises `ValueError` for what no meter counted."""
        wall, into, *bins = _SAVED.unpack(raw)
        if not (math.isfinite(wall) and 0 <= into <= HOUR and max(bins) < 2**62):
            raise ValueError("the meter of writes has values out of bounds")
        self._into, self._bins = into, list(bins)
        self._pass(self._wall() - wall)


def endurance_years(
    bytes_per_day: float, capacity_bytes: float, endurance_cycles: float, write_amplification: float = 1.0
) -> float:
    """Years until the flash is worn: capacity x cycles / (bytes a day x amplification x 365).

    ``capacity_bytes``, ``endurance_cycles`` and ``write_amplification`` (of the device's controller) are
    figures of the device profile; infinity when nothing is written.
    """
    if capacity_bytes <= 0 or endurance_cycles <= 0 or write_amplification < 1 or bytes_per_day < 0:
        raise BadRecord(
            f"Endurance of {capacity_bytes} bytes, {endurance_cycles} cycles, amplification {write_amplification}, "
            f"{bytes_per_day} bytes a day.",
            "Use positive figures and an amplification of at least 1.",
        )
    if bytes_per_day == 0:
        return math.inf
    return capacity_bytes * endurance_cycles / (bytes_per_day * write_amplification * 365)


def device_bytes_written(path: Path) -> int | None:
    """Bytes written to the block device under ``path`` since the system started, by everybody; None where
    unknown.
    """
    number = os.stat(path).st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
        return int(fields[6]) * 512  # Documentation/block/stat.rst: sectors of 512 bytes
    except (OSError, IndexError, ValueError):
        return None


def process_bytes_written() -> int | None:
    """Bytes this process caused to be sent to block devices (proc(5), write_bytes); None where unknown."""
    try:
        for line in Path("/proc/self/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None
