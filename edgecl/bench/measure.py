"""How every bench measures: pinned threads, warm-up, median and quartiles, and the state of the machine around it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from .. import __version__
from ..devices import sensors
from ..devices.calibrate import numpy_probe
from ..errors import BadInput
from ..report.record import host_facts

SCHEMA = "edgecl.bench/1"
ROUNDS = 20  # the least that a published figure rests on
WARM_UP = 3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of ``n`` values."""

    median: float
    q1: float
    q3: float
    n: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return Spread(quantile(ordered, 0.5), quantile(ordered, 0.25), quantile(ordered, 0.75), len(ordered))

    def row(self, unit: str) -> dict[str, Any]:
        """The fields of a bench's row."""
        return {"median": self.median, "q1": self.q1, "q3": self.q3, "n": self.n, "unit": unit, "source": "measured"}


def quantile(ordered: Sequence[float], q: float) -> float:
    """Of ascending values, linear between them."""
    at = q * (len(ordered) - 1)
    low = int(at)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (at - low)


@contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """This process on ``threads`` processors (the fastest, where Linux tells their clocks); yields which."""
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(allowed):
        raise BadInput(f"{threads} threads on {len(allowed)} cores.", f"Use 1 to {len(allowed)}.")

    def clock(cpu: int) -> float:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq") as file:
                return float(file.read())
        except (OSError, ValueError):
            return 0.0

    chosen = sorted(allowed, key=lambda cpu: (-clock(cpu), cpu))[:threads]
    os.sched_setaffinity(0, chosen)
    try:
        yield sorted(chosen)
    finally:
        os.sched_setaffinity(0, allowed)


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int, least: float = 0.0) -> dict[str, list[float]]:
    """Seconds per call: every round gives each contender a turn, after `WARM_UP` rounds that do not count.

    least : seconds a turn lasts at least; short calls are repeated within it
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    repeats = dict.fromkeys(contenders, 1)
    for round_number in range(-WARM_UP, rounds):
        for name, call in contenders.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            taken = (time.perf_counter() - began) / repeats[name]
            if round_number >= 0:
                seconds[name].append(taken)
            else:
                repeats[name] = max(1, round(least / max(taken, 1e-9)))
    return seconds


class Conditions:
    """Temperature and throttling before and after, for the record; made before the bench."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._before = self._now()
        self._cores = list(cores)

    @staticmethod
    def _now() -> dict[str, Any]:
        heat, state = sensors.temperature(), sensors.throttling()
        return {
            "temperature": None if heat is None else heat[0],
            "temperature_source": "no sensor" if heat is None else heat[1],
            "throttled_now": list(state.now),
            "throttled_since_start": list(state.occurred),
            "throttling_source": state.source,
        }

    def to_json(self) -> dict[str, Any]:
        return {"pinned_to": self._cores, "warm_up": WARM_UP, "before": self._before, "after": self._now()}


@cache
def ceilings() -> dict[str, dict[str, float]]:
    """What this machine gives at most, by number of threads: FLOP/s of a large float32 matrix product, bytes/s of
    array copies; measured once a process, in a child, in two to three seconds."""
    found = numpy_probe(os.cpu_count() or 1)
    parts = {"product_flops_per_s": found.flops, "copy_bytes_per_s": found.bandwidth}
    return {name: {str(threads): float(value) for threads, value in part.items()} for name, part in parts.items()}


def ceilings_line(found: dict[str, dict[str, float]]) -> str:
    """Ceilings in words."""
    flops, copies = ((max(found[k]), max(found[k].values()) / 1e9) for k in ("product_flops_per_s", "copy_bytes_per_s"))
    return f"ceilings here: products {flops[1]:.3g} GFLOP/s, copies {copies[1]:.3g} GB/s (at most {flops[0]} threads)"


def record(bench: str, command: str, rows: list[dict[str, Any]], baseline: str, conditions: Any) -> dict[str, Any]:
    """What a bench writes as JSON; with the machine's ceilings where something was measured (``conditions``)."""
    return {
        "schema": SCHEMA,
        "bench": bench,
        "command": command,
        "version": __version__,
        "date": time.strftime("%Y-%m-%d"),
        "host": {**host_facts(), "platform": platform.platform()},
        "ceilings": None if conditions is None else ceilings(),
        "baseline": baseline,
        "conditions": conditions,
        "rows": rows,
    }
