"""What every bench shares: host description, interleaved timing, a table, the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="finish within a minute, fewer repetitions")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON")
    return parser


def host() -> dict[str, Any]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            model = line.split(":", 1)[1].strip()
            break
    return {"machine": platform.machine(), "cpu": model, "cores": os.cpu_count(), "system": platform.platform()}


def versions(*packages: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "edgecl": "absent"}
    with suppress(ImportError):  # here, so that a bench decides what is imported before it; some need none
        import edgecl

        found["edgecl"] = edgecl.__version__
    for name in ("numpy", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


TURN = 0.05  # seconds; a turn of short calls repeats them
SETTLE = 0.02  # seconds between turns: OpenMP threads of a peer spin for about 10 ms after its last call


def interleave(
    contenders: dict[str, Callable[[], None]], rounds: int, warm_up: int = 2
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of wall and of process CPU time per call, the contenders taking turns in every round."""
    wall: dict[str, list[float]] = {k: [] for k in contenders}
    cpu: dict[str, list[float]] = {k: [] for k in contenders}
    repeats = dict.fromkeys(contenders, 1)
    for r in range(-warm_up, rounds):
        for name, call in contenders.items():
            n = repeats[name]
            time.sleep(SETTLE)
            t, c = time.perf_counter(), time.process_time()
            for _ in range(n):
                call()
            seconds = (time.perf_counter() - t) / n
            if r >= 0:
                wall[name].append(seconds)
                cpu[name].append((time.process_time() - c) / n)
            else:
                repeats[name] = max(1, round(TURN / seconds))
    return wall, cpu


class Neighbours:
    """Over a with block: ``share`` of the machine's cores that other processes, or the host, took meanwhile."""

    def __enter__(self) -> Neighbours:
        self._start = (self._busy(), time.process_time(), time.perf_counter())
        self.share = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        busy, own, wall = self._start
        others = self._busy() - busy - (time.process_time() - own)
        self.share = max(0.0, others / ((time.perf_counter() - wall) * (os.cpu_count() or 1)))

    @staticmethod
    def _busy() -> float:
        """Seconds in which a core did something or was withheld, all cores together."""
        user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Rows as an aligned table."""
    if not rows:
        return
    columns = columns or list(rows[0])

    def cell(v: Any) -> str:
        return f"{v:.3g}" if isinstance(v, float) else str(v)

    widths = [max(len(c), *(len(cell(r.get(c, ""))) for r in rows)) for c in columns]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths)))
    for r in rows:
        print("  ".join(cell(r.get(c, "")).ljust(w) for c, w in zip(columns, widths)))


def write(
    name: str,
    rows: Sequence[dict[str, Any]],
    path: str | None,
    packages: Sequence[str] = (),
    key: Sequence[str] = (),
    **more: Any,
) -> None:
    """{"bench", "command", "host", "versions", "rows"} to ``path``.

    With a ``key`` (columns that name a row) the rows replace those of the same key in the file and leave the others:
    a long table can be measured in pieces. Each row then carries the command that made it and its date.
    """
    if not path:
        return
    command = "python " + " ".join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    merged = list(rows)
    if key:
        merged = [{**row, "command": command, "date": time.strftime("%Y-%m-%d")} for row in rows]
        if Path(path).exists():
            names = {tuple(row.get(k) for k in key) for row in rows}
            old = json.loads(Path(path).read_text())["rows"]
            merged = [row for row in old if tuple(row.get(k) for k in key) not in names] + merged
        merged.sort(key=lambda row: [str(row.get(k)) for k in key])
        command = f"python {os.path.relpath(sys.argv[0])} (see the rows)"
    record = {
        "bench": name,
        "command": command,
        "host": host(),
        "versions": versions(*packages),
        "date": time.strftime("%Y-%m-%d"),
        **more,
    }
    lines = ",\n".join("  " + json.dumps(row) for row in merged)
    head = json.dumps(record, indent=1).removesuffix("\n}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
