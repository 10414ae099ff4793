"""Runs the demo's commands in a control group of so many bytes, where the kernel kills what does not fit.

The group counts more than the resident set: page cache, kernel memory and Python's start before training. Needs root
and a memory controller, version 1 or 2.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecl.commands import demo

MB = 1_000_000
ROOM = 8 * MB
GROUPS = Path("/sys/fs/cgroup")


class NoController(Exception):
    """No group with a limit can be made here; says why."""


class Version1:
    """One hierarchy per controller."""

    folder, limit, peak = GROUPS / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"
    kills = "memory.oom_control"


class Version2:
    """One hierarchy; the controller has to be handed down to it."""

    folder, limit, peak, kills = GROUPS, "memory.max", "memory.peak", "memory.events"


@dataclass(frozen=True)
class Ended:
    """status : of the command;  said : the end of what it printed;  killed : processes that the kernel killed
    peak : highest bytes of the group, 0 where the kernel does not tell;  record : of the run, None without one"""

    status: int
    said: str
    killed: int
    peak: int
    record: dict[str, Any] | None


def controller() -> type[Version1] | type[Version2]:
    if os.geteuid() != 0:
        raise NoController("only root may make a control group")
    if (Version1.folder / Version1.limit).exists():
        return Version1
    try:
        if "memory" in (GROUPS / "cgroup.subtree_control").read_text().split():
            return Version2
    except OSError:
        pass
    raise NoController("no memory controller (cgroup version 1 or 2) is at /sys/fs/cgroup")


@contextmanager
def capped(limit: int) -> Iterator[tuple[Path, type[Version1] | type[Version2]]]:
    """A control group whose processes may use ``limit`` bytes together. Raises `NoController`."""
    version = controller()
    group = version.folder / f"edgecl-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoController(f"no control group can be made here: {error.strerror}") from error
    try:
        (group / version.limit).write_text(str(limit))
        yield group, version
    finally:
        leave(group)


def leave(group: Path) -> None:
    """Remove the group; the kernel calls it busy for a moment after its last process has ended."""
    for _ in range(100):
        try:
            return group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.1)
    group.rmdir()


def capped_run(limit: int, folder: Path, name: str, options: Mapping[str, Any], ram: str) -> Ended:
    """`edgecl run` of the demo, with ``options``, in a group of ``limit`` bytes; its record is FOLDER/NAME/run.json."""
    given = {**demo.COMMON, "ram": ram, **options, "out": folder / name}
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    with capped(limit) as (group, version):
        enter = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))} && exec " + '"$@"'
        command = ["sh", "-c", enter, "sh", sys.executable, "-P", "-m", "edgecl", "run", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        kills = dict(line.split() for line in (group / version.kills).read_text().splitlines())
        peak = int((group / version.peak).read_text()) if (group / version.peak).exists() else 0
    path = folder / name / "run.json"
    record = json.loads(path.read_text()) if path.exists() else None
    return Ended(done.returncode, done.stdout[-500:] + done.stderr[-1500:], int(kills["oom_kill"]), peak, record)


def demo_under_cap(budget: int, folder: Path, extra: Mapping[str, Any]) -> dict[str, Ended]:
    """Both runs of the demo with a plan of ``budget`` MB, each in a group of that and 8 MB."""
    runs = {"naive": demo.NAIVE, "sparcl": {**demo.SPARCL, "store": folder / "store"}}
    return {
        name: capped_run(budget * MB + ROOM, folder, name, {**options, **extra}, f"{budget}MB")
        for name, options in runs.items()
    }


def kept(budget: int, ended: Ended) -> list[str]:
    """What is wrong with a run under its cap: killed, over the cap, or not as planned (5 % and 1 MB)."""
    if ended.status or ended.killed or ended.record is None:
        return [f"status {ended.status}, {ended.killed} killed: {ended.said}"]
    memory = ended.record["memory"]
    growth = memory["measured_peak_rss_bytes"] - memory["baseline_bytes"]
    planned = memory["planned_peak_rss_bytes"] - memory["baseline_bytes"]
    found = []
    if ended.peak > budget * MB + ROOM:
        found.append(f"the group held {ended.peak} bytes")
    if abs(planned - growth) > 0.05 * growth + MB:
        found.append(f"planned growth {planned}, measured {growth}: {ended.record['plan']['growth_bytes']}")
    return found
