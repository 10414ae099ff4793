"""The profile 'host': this machine. Short by default (the machine's ceilings, a few seconds, kept in the cache
folder); `calibrate` also times our kernels, the disk and power, and takes its place."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..data.cache import cache_folder, flush
from ..errors import EdgeclError
from .cgroup import memory_limit
from .figures import SCHEMA, Profile
from .profile import read_profile
from .schema import parse_profile, reference_rates

# read by the probe's child only: one BLAS thread per Python thread
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")}


@dataclass(frozen=True)
class Measurements:
    """What a probe finds, by number of threads: float32 FLOP/s of a dense product, bytes/s of main memory.

    method : how, for the figures' source
    sizes : bytes/s of one thread by working set, when the probe measures it
    """

    method: str
    flops: dict[int, float]
    bandwidth: dict[int, float]
    baseline_rss_bytes: int
    sizes: dict[int, float] = field(default_factory=dict)


Probe = Callable[[int], Measurements]  # number of cores -> measurements


def numpy_probe(cores: int, full: bool = False) -> Measurements:
    """float32 matrix products and array copies in a child, with 1 and ``cores`` threads; ``full``: with each number of
    threads between them, and copies of many sizes. A sixteenth of the RAM at most."""
    code = "from edgecl.devices._probe import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(cores), str(memory_bytes()), *(["full"] if full else [])],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **ONE_THREAD},
        stdin=subprocess.DEVNULL,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeclError(f"The calibration failed: {last}", "Name a shipped device, or report this.") from error
    by_number = {key: {int(t): v for t, v in found[key].items()} for key in ("flops", "bandwidth", "sizes")}
    return Measurements(
        "numpy float32 matrix product and copy", baseline_rss_bytes=found["baseline_rss_bytes"], **by_number
    )


def host_profile(probe: Probe = numpy_probe, name: str = "numpy-2", refresh: bool = False) -> Profile:
    """This machine's profile from the cache: what `calibrate` left there, else a short measurement by ``probe``."""
    cores = len(os.sched_getaffinity(0))
    calibrated, short = _cache_file("calibrated"), _cache_file(name)
    for path in (calibrated, short):
        if not refresh and path.exists():
            return read_profile(path)
    data = profile_tables(probe(cores), cores)
    profile = parse_profile(data, "host")
    _keep(short, data)
    return profile


def keep_calibrated(data: dict[str, Any]) -> None:
    """Let ``data``, the tables of a calibration of this machine, be 'host' from now on."""
    _keep(_cache_file("calibrated"), data)


def _cache_file(name: str) -> Path:
    cores = len(os.sched_getaffinity(0))
    key = json.dumps([name, SCHEMA, platform.machine(), _cpu_name(), cores, memory_bytes(), platform.python_version()])
    return cache_folder() / "host" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def figure(value: float, mark: str, source: str, unit: str = "") -> dict[str, Any]:
    """A profile's figure, to four digits."""
    entry: dict[str, Any] = {"value": int(value) if value == int(value) else float(f"{value:.4g}")}
    if unit:
        entry["unit"] = unit
    return {**entry, "mark": mark, "source": source}


def profile_tables(m: Measurements, cores: int) -> dict[str, Any]:
    """A profile of this machine from a probe; our kernels' rates are the shipped reference's."""
    from .. import _kernels

    _, loops = reference_rates()
    mhz = _max_mhz()
    if mhz:
        ghz = figure(mhz / 1000, "vendor", "Linux: highest core clock", "GHz")
    else:
        ghz = figure(1.0, "assumed", "Linux names no clock; only its product with flop_per_cycle counts", "GHz")
    one = m.flops[1]
    # the probe's own rate is the peak, so its efficiency is 1 on one core by definition
    efficiency = [
        {"threads": t, **figure(f / (t * one), "measured", f"{m.method}, {t} against 1 thread")}
        for t, f in sorted(m.flops.items())
    ]
    carried = "reference of the shipped kernel rates; measure with: edgecl devices calibrate"
    memory: dict[str, Any] = {
        "bytes": figure(memory_bytes(), "measured", "Linux: MemTotal, or the control group's limit", "B"),
        "bandwidth": [{"threads": t, **figure(v, "measured", m.method, "B/s")} for t, v in sorted(m.bandwidth.items())],
    }
    if m.sizes:
        memory["by_size"] = [
            {"bytes": n, **figure(v, "measured", "numpy copy, one thread, source and target together", "B/s")}
            for n, v in sorted(m.sizes.items())
        ]
    return {
        "schema": SCHEMA,
        "name": "host",
        "title": f"This machine: {_cpu_name()}, {cores} cores",
        "clusters": [{
            "core": _cpu_name(),
            "count": figure(cores, "measured", "cores this process may run on"),
            "ghz": ghz,
            "flop_per_cycle": figure(one / ghz["value"] / 1e9, "measured", f"{m.method}, per clock"),
            "isa": {"value": _kernels.isa(), "mark": "measured", "source": "kernels chosen here"},
        }],
        "caches": {k: figure(v, "vendor", "Linux: cpu0/cache", "B") for k, v in _caches().items()},
        "memory": memory,
        "gemm": {"efficiency": efficiency},
        "kernels": {
            **{k: figure(v.value, "assumed", carried) for k, v in loops.items()},
            "step_seconds": figure(5e-5, "assumed", carried, "s"),
            "tensor_seconds": figure(8e-6, "assumed", carried, "s"),
            "feed_bytes_per_s": figure(1.5e9, "assumed", carried, "B/s"),
            "update_traffic": figure(3.0, "assumed", carried),
        },
        "process": {"baseline_rss_bytes": figure(
            m.baseline_rss_bytes, "measured", "resident set of a child after the imports", "B")},
        "model": {
            "band_low": figure(0.5, "assumed", "short calibration on a machine that may be shared"),
            "band_high": figure(2.0, "assumed", "short calibration on a machine that may be shared"),
            "power_band_high": figure(1.5, "assumed", "a matrix product draws up to 1.45 times integer load on a Pi 4"),
        },
    }  # fmt: skip


def _keep(path: Path, data: dict[str, Any]) -> None:
    """Write to the cache; a cache that cannot be written only means measuring again."""
    work = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(json.dumps(data, indent=1))
        flush(work)
        work.rename(path)
    except OSError:
        with suppress(OSError):
            work.unlink()


def memory_bytes() -> int:
    """RAM that this process may use: that of the machine, or less where a control group that it is in has less."""
    total, limit = psutil.virtual_memory().total, memory_limit()
    return total if limit is None else min(total, limit[0])


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model", "Hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _max_mhz() -> float | None:
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text()) / 1000
    except (OSError, ValueError):
        pass
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("cpu MHz"):
                return float(line.split(":", 1)[1]) or None
    except (OSError, ValueError):
        pass
    return None


def _caches() -> dict[str, int]:
    found = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((folder / n).read_text().strip() for n in ("level", "type", "size"))
        except OSError:
            continue
        name = {("1", "Data"): "l1d_bytes", ("2", "Unified"): "l2_bytes", ("3", "Unified"): "l3_bytes"}.get(
            (level, kind)
        )
        if name and size[-1] in "KM":
            found[name] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
    return found
