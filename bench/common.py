"""What every bench shares: host and its ceilings, interleaved timing, a table, the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


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


@cache
def ceilings() -> dict[str, float]:
    """FLOP/s of one core of this machine at its widest vectors, from registers and with a load from each level of
    memory (`ceilings`), measured once a process, in some three seconds; empty without a C++ compiler."""
    from ceilings import compiler, measure_ceilings

    if compiler() is None:
        return {}
    flags = set(Path("/proc/cpuinfo").read_text().split())
    isa = "avx512" if {"avx512f", "avx512vl"} <= flags else "avx2" if {"avx2", "fma"} <= flags else "sse2"
    return measure_ceilings("neon" if platform.machine() == "aarch64" else isa).to_json()


LEVELS = {"fma": "FMA", "l1": "L1", "l2": "L2", "l3": "L3", "dram": "memory"}


def host_line(results: dict[str, Any]) -> str:
    """Machine, versions, date and ceilings of a result, for the page that shows it. Ceilings that a result of before
    does not hold are taken from one of the same machine."""
    about, used = results["host"], results.get("versions", {})
    packages = ", ".join(f"{k} {v}" for k, v in used.items() if v != "absent")
    line = f"{about['cpu']}, {about['cores']} cores, {about['system']}; {packages}; {results.get('date', 'undated')}. "
    found = results.get("ceilings") or _of_the_same(about)
    if not found:
        return line + "Ceilings of that machine: not measured."
    return line + ceilings_line(found)


def ceilings_line(found: dict[str, float]) -> str:
    figures = ", ".join(f"{LEVELS[k]} {v / 1e9:.0f}" for k, v in found.items())
    return f"Ceilings of one core there, GFLOP/s with one vector load per FMA: {figures}."


@cache
def _measured() -> list[tuple[dict[str, Any], dict[str, float]]]:
    """(host, ceilings) of every committed result that holds them."""
    files = sorted(Path(__file__).with_name("results").glob("*.json"))
    found = [json.loads(f.read_text()) for f in files]
    return [(r["host"], r["ceilings"]) for r in found if r.get("ceilings") and "host" in r]


def _of_the_same(about: dict[str, Any]) -> dict[str, float]:
    return next((ceiling for machine, ceiling in _measured() if machine == about), {})


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


def in_repository(word: str) -> str:
    """A word of a command as it is said in the repository's folder, whose own place is nobody's business."""
    path = Path(word)
    return str(path.relative_to(ROOT)) if path.is_absolute() and path.is_relative_to(ROOT) else word


def write(
    name: str,
    rows: Sequence[dict[str, Any]],
    path: str | None,
    packages: Sequence[str] = (),
    key: Sequence[str] = (),
    **more: Any,
) -> None:
    """{"bench", "command", "host", "ceilings", "versions", "rows"} to ``path``.

    With a ``key`` (columns that name a row) the rows replace those of the same key in the file and leave the others:
    a long table can be measured in pieces. Each row then carries the command that made it and its date, and one that
    was measured on another machine than the newest carries that machine and its ceilings.
    """
    if not path:
        return
    command = " ".join(["python", *map(in_repository, [os.path.abspath(sys.argv[0]), *sys.argv[1:]])])
    merged = list(rows)
    if key:
        merged = [{**row, "command": command, "date": time.strftime("%Y-%m-%d")} for row in rows]
        if Path(path).exists():
            names = {tuple(row.get(k) for k in key) for row in rows}
            old = json.loads(Path(path).read_text())
            there = {k: old[k] for k in ("host", "ceilings") if k in old}
            there = {} if there.get("host") == host() else there
            kept = [row for row in old.get("rows", ()) if tuple(row.get(k) for k in key) not in names]
            merged = [row if "host" in row else {**row, **there} for row in kept] + merged
        merged.sort(key=lambda row: [str(row.get(k)) for k in key])
        command = f"python {in_repository(os.path.abspath(sys.argv[0]))} (see the rows)"
    record = {
        "bench": name,
        "command": command,
        "host": host(),
        "ceilings": more.pop("ceilings", None) or ceilings(),
        "versions": versions(*packages),
        "date": time.strftime("%Y-%m-%d"),
        **more,
    }
    lines = ",\n".join("  " + json.dumps(row) for row in merged)
    head = json.dumps(record, indent=1).removesuffix("\n}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
