"""OtherLoad: how busy the processors are with work that is not ours."""

from __future__ import annotations

import time
from pathlib import Path

from .base import maybe_text, sensor_root


class OtherLoad:
    """Share 0..1 of all processors' time that other processes took since the last call (or since this was made)."""

    def __init__(self, root: Path | None = None) -> None:
        self._stat = (root or sensor_root()) / "proc/stat"
        self._last = self._times()

    def read(self) -> float | None:
        """None where /proc/stat cannot be read or no time has passed."""
        now, last = self._times(), self._last
        self._last = now
        if now is None or last is None:
            return None
        total, busy, own = (a - b for a, b in zip(now, last))
        return None if total <= 0 else min(max((busy - own) / total, 0.0), 1.0)

    def _times(self) -> tuple[float, float, float] | None:
        """(all, busy, own) in seconds of processor time; proc(5): user nice system idle iowait irq softirq steal."""
        text = maybe_text(self._stat)
        if text is None or not text.startswith("cpu "):
            return None
        ticks = [float(v) for v in text.splitlines()[0].split()[1:9]]
        hertz = 100.0  # USER_HZ, the same on every Linux this runs on
        total = sum(ticks) / hertz
        return total, total - sum(ticks[3:5]) / hertz, time.process_time()
