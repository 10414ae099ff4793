"""What the control group allows this process: memory and processors, cgroup version 2 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .sensors.base import maybe_number, maybe_text, sensor_root

UNLIMITED = 1 << 60  # version 1 writes no limit as a number near 2**63


def _own(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above it, version 2 first. /proc/self/cgroup names them."""
    for line in (maybe_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            base = root / "sys/fs/cgroup"
            base = base / "unified" if (base / "unified").is_dir() else base
        elif controller in names.split(","):
            base = root / "sys/fs/cgroup" / controller
        else:
            continue
        here = base / path.lstrip("/")
        while True:
            yield here
            if here == base or base not in here.parents:
                break
            here = here.parent
        yield base  # inside a container the named path is often not there: the mount itself is the group


def memory_limit(root: Path | None = None) -> tuple[int, str] | None:
    """(bytes, file) of the lowest limit in force, or None."""
    root, found = root or sensor_root(), []
    for folder in _own(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = maybe_number(folder / name)  # "max" is no number
            if value is not None and value < UNLIMITED:
                found.append((int(value), str(folder / name)))
    return min(found) if found else None


def processor_quota(root: Path | None = None) -> tuple[float, str] | None:
    """(processors, file) of the lowest quota in force, or None."""
    root, found = root or sensor_root(), []
    for folder in _own(root, "cpu"):
        words = (maybe_text(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0] != "max":
            found.append((float(words[0]) / float(words[1]), str(folder / "cpu.max")))
        quota, period = (maybe_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota is not None and period and quota > 0:
            found.append((quota / period, str(folder / "cpu.cfs_quota_us")))
    return min(found) if found else None
