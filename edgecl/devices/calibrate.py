"""The profile 'host': this machine, measured in a few seconds and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ..data.cache import cache_folder, flush
from ..errors import EdgeclError
from .profile import SCHEMA, Profile, load_profile, parse_profile

# read by the probe's child only: one BLAS thread per Python thread
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")}


@dataclass(frozen=True)
class Measurements:
    """What a probe finds, by number of threads: float32 FLOP/s of a dense product, bytes/s of main memory.

    method : how, for the figures' source
    sparse : {density: rate relative to dense} when the probe measures it
    """

    method: str
    flops: dict[int, float]
    bandwidth: dict[int, float]
    baseline_rss_bytes: int
    sparse: dict[float, float] | None = None


Probe = Callable[[int], Measurements]  # number of cores -> measurements


def numpy_probe(cores: int) -> Measurements:
    """float32 matrix products and array copies in a child, with 1 and ``cores`` threads; about 2 s."""
    done = subprocess.run(
        [sys.executable, "-c", "from edgecl.devices._probe import main; main()", str(cores)],
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
    by_threads = {key: {int(t): v for t, v in found[key].items()} for key in ("flops", "bandwidth")}
    return Measurements(
        "numpy float32 matrix product and copy",
        flops=by_threads["flops"],
        bandwidth=by_threads["bandwidth"],
        baseline_rss_bytes=found["baseline_rss_bytes"],
    )


def host_profile(probe: Probe = numpy_probe, name: str = "numpy-1", refresh: bool = False) -> Profile:
    """This machine's profile, cached; measured when ``refresh`` or not yet known by probe ``name``."""
    cores = len(os.sched_getaffinity(0))
    memory = _memory_bytes()
    key = json.dumps([name, platform.machine(), _cpu_name(), cores, memory, platform.python_version()])
    path = cache_folder() / "host" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not refresh and path.exists():
        return load_profile(path)
    data = _as_profile(probe(cores), cores, memory)
    profile = parse_profile(data, "host")
    _keep(path, data)
    return profile


def _as_profile(m: Measurements, cores: int, memory: int) -> dict[str, Any]:
    def figure(value: float, mark: str, source: str, unit: str = "") -> dict[str, Any]:
        return {"value": value, "unit": unit, "mark": mark, "source": source}

    generic = load_profile("rpi_4b")
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
    bandwidth = [{"threads": t, **figure(v, "measured", m.method, "B/s")} for t, v in sorted(m.bandwidth.items())]
    if m.sparse is None:
        sparse = [{"density": d, **asdict(f)} for d, f in generic.sparse_by_density]
    else:
        sparse = [{"density": d, **figure(v, "measured", m.method)} for d, v in sorted(m.sparse.items())]
    caches = {k: figure(v, "vendor", "Linux: /sys/devices/system/cpu/cpu0/cache", "B") for k, v in _caches().items()}
    return {
        "schema": SCHEMA,
        "name": "host",
        "title": f"This machine: {_cpu_name()}, {cores} cores",
        "clusters": [{
            "core": _cpu_name(),
            "count": figure(cores, "measured", "cores this process may run on"),
            "ghz": ghz,
            "flop_per_cycle": figure(one / ghz["value"] / 1e9, "measured", f"{m.method}, per clock"),
        }],
        "caches": caches,
        "memory": {
            "bytes": figure(memory, "measured", "Linux: MemTotal, or the control group's limit", "B"),
            "bandwidth": bandwidth,
        },
        "gemm": {"efficiency": efficiency},
        "kernels": {"sparse": sparse, "depthwise": asdict(generic.figures["kernels"]["depthwise"])},
        "process": {"baseline_rss_bytes": figure(
            m.baseline_rss_bytes, "measured", "resident set of a child after the imports", "B")},
        "model": {
            "band_low": figure(0.5, "assumed", "short calibration on a machine that may be shared"),
            "band_high": figure(2.0, "assumed", "short calibration on a machine that may be shared"),
            "power_band_high": asdict(generic.figures["model"]["power_band_high"]),
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


def _memory_bytes() -> int:
    total = psutil.virtual_memory().total
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(file).read_text()))
        except (OSError, ValueError):
            continue
    return total


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
