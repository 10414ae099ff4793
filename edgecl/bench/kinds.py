"""The four benches: what is measured, and the rows it gives."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..child import python_command
from ..devices.sensors import EnergyMeter, SensorError, open_energy_sensor
from ..errors import EdgeclError
from .measure import WARM_UP, Spread, interleaved
from .modelled import add_ratios
from .work import Case, make_call, planned_bytes

TURN = 0.02  # seconds a turn of short calls lasts at least


def latency(wanted: Sequence[Case], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds of a call; contenders of one network and operation take turns."""
    rows = []
    for group in _groups(wanted):
        calls = {case.name: make_call(case, threads) for case in group}
        seconds = interleaved(calls, rounds, TURN)
        rows += [{**case.row(threads), **Spread.of(seconds[case.name]).row("s")} for case in group]
    return add_ratios(rows, "median")


def energy(wanted: Sequence[Case], threads: int, rounds: int, source: str, span: float = 0.5) -> list[dict[str, Any]]:
    """Joules of a call: each round works for ``span`` seconds between two readings of the sensor.

    The sensor's boundary is in the rows; the idle power of the machine is part of the joules. Raises `SensorError`
    where nothing measures.
    """
    sensor = open_energy_sensor(source)
    span = max(span, 2 * sensor.interval)
    rows = []
    for group in _groups(wanted):
        calls = {case.name: make_call(case, threads) for case in group}
        for call in calls.values():
            for _ in range(WARM_UP):
                call()
        joules: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                meter, count = EnergyMeter(sensor), 0
                end = time.monotonic() + span
                while time.monotonic() < end:
                    call()
                    count += 1
                joules[name].append(meter.poll(force=True) / count)
        if not any(any(found) for found in joules.values()):
            raise SensorError(
                f"{sensor.source} counted no joule in {rounds * len(calls)} rounds of {span:g} s.",
                "See that the sensor works, or that what writes the meter's file runs.",
            )
        rows += [
            {**case.row(threads), **Spread.of(joules[case.name]).row("J"), "source": sensor.source} for case in group
        ]
    return add_ratios(rows, "median")


def memory(wanted: Sequence[Case], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Peak resident set of a fresh process that does the operation ten times, over that of one that does nothing."""
    rows = []
    for case in wanted:
        found = [_peak(case, threads) for _ in range(rounds)]
        growth = Spread.of([f["peak"] - f["baseline"] for f in found])
        rows.append({**case.row(threads), **growth.row("B"), "planned": planned_bytes(case, threads),
                     "baseline_rss": Spread.of([f["baseline"] for f in found]).median,
                     "peak_rss": Spread.of([f["peak"] for f in found]).median})  # fmt: skip
    return add_ratios(rows, "median")


def _peak(case: Case, threads: int) -> dict[str, int]:
    job = json.dumps({"case": vars(case), "threads": threads})
    done = subprocess.run(
        python_command("edgecl.bench.peak", job), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeclError(f"The measuring process failed: {last}", "Try a smaller network or batch.") from error


def flash(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """The disk under ``folder`` itself, and appends and reads of a sample store on it."""
    from ..devices.calibration.flash import measure_flash

    raw = [measure_flash(folder, megabytes=8, seconds=0.1) for _ in range(rounds)]
    units = {"write_bytes_per_s": "B/s", "read_bytes_per_s": "B/s", "fsync_seconds": "s"}
    rows = [
        {"what": f"disk: {name.replace('_', ' ')}", **Spread.of([r[name] for r in raw]).row(units.get(name, "1/s"))}
        for name in raw[0]
    ]
    for durability in ("durable", "batched:1000"):
        figures = [_store_rates(folder, durability) for _ in range(rounds)]
        rows += [
            {"what": f"store, {durability}: {name}", **Spread.of([f[name] for f in figures]).row("samples/s")}
            for name in figures[0]
        ]
    return rows


def _store_rates(folder: Path, durability: str) -> dict[str, float]:
    """Samples of 3 KB a second: appended in batches of 32 until they are on flash, read back at random."""
    import numpy as np

    from ..storage import SampleStore, StreamSchema

    rng = np.random.default_rng(0)
    x, y, batches = rng.integers(0, 255, (32, 3, 32, 32)).astype(np.uint8), rng.integers(0, 9, 32).astype(np.int32), 8
    with (
        tempfile.TemporaryDirectory(prefix=".edgecl-bench-", dir=folder) as place,
        SampleStore(Path(place) / "s", StreamSchema((3, 32, 32), "uint8"), durability=durability) as store,
    ):
        began = time.perf_counter()
        for _ in range(batches):
            store.append(x, y)
        store.flush()
        appended = 32 * batches / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(batches):
            store.read(rng.integers(0, 32 * batches, 32))
        return {"appended": appended, "read at random": 32 * batches / (time.perf_counter() - began)}


def _groups(wanted: Sequence[Case]) -> list[list[Case]]:
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in wanted:
        groups.setdefault((case.net, case.operation), []).append(case)
    return list(groups.values())
