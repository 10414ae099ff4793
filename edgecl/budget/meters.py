"""Memory meters: the resident set of this process, from /proc/self."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..give_back import trim

# Peak is VmHWM of this process, never ru_maxrss, which is inherited from the parent.

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes resident now (VmRSS). Asked before every step: statm takes a sixth of the time of status."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[1]) * _PAGE


def settled() -> int:
    """Bytes resident once the free pages of the heap are given back: a baseline that hides no room to grow into."""
    trim()
    return resident()


def peak_resident() -> int:
    """Highest resident bytes so far (VmHWM)."""
    return _status("VmHWM")


def _status(field: str) -> int:
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(field.encode()):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


@dataclass
class MemoryMeter:
    """Checks a RAM limit.

    limit : bytes or None;  baseline : bytes resident when the plan was made, 0 for the scope ``process``
    """

    limit: int | None
    baseline: int = 0

    def use(self) -> int:
        """Bytes that count against the limit now."""
        return resident() - self.baseline

    def share(self) -> float:
        """Present use over the limit; 0 without one."""
        return 0.0 if self.limit is None else self.use() / self.limit
