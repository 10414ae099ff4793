"""examine: what this machine offers to a run, and what stands in its way, each with one remedy."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import EdgeclError
from . import sensors
from .cgroup import memory_limit, processor_quota
from .sensors.base import maybe_text, sensor_root

SCHEMA = "edgecl.doctor/1"
MB = 1_000_000
FEATURES = ("avx512f", "avx2", "fma", "sse4_1", "sse2", "asimd", "asimdhp", "asimddp", "sve", "sve2", "i8mm", "bf16")
VOLATILE = ("tmpfs", "ramfs", "overlay")


@dataclass(frozen=True)
class Finding:
    """state : ``ok``, ``note`` (nothing to mend) or ``problem``, which has a remedy;  value : as people read it"""

    topic: str
    value: str
    state: str = "ok"
    remedy: str = ""


def examine(folder: Path, root: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Everything, as the JSON of `edgecl doctor`. folder : where a store would lie; quick : measure nothing."""
    root = root or sensor_root()
    checks: list[Callable[[], list[Finding]]] = [
        lambda: kernels(root),
        lambda: processors(root),
        lambda: memory(root),
        lambda: pages(os.sysconf("SC_PAGE_SIZE")),
        lambda: disk(folder, root),
        lambda: [] if quick else speed(folder),
        lambda: energy(root),
        lambda: heat(root),
        lambda: throttled(root),
        lambda: battery(root),
        lambda: clock(time.time()),
        lambda: [] if quick else expectation(),
    ]
    found = [finding for check in checks for finding in check()]
    return {
        "schema": SCHEMA,
        "findings": [asdict(f) for f in found],
        "problems": sum(f.state == "problem" for f in found),
    }


def kernels(root: Path) -> list[Finding]:
    """Instruction set in use, and what the processor offers beyond."""
    words = set()
    for line in (maybe_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            words |= set(value.split())
    offers = [name for name in FEATURES if name in words]
    found = [Finding("processor offers", " ".join(offers) or "unknown", "ok" if offers else "note")]
    try:
        from .. import _kernels

        isa = str(_kernels.isa())
    except ImportError:
        remedy = "Install the wheel: pip install edgecl."
        return [*found, Finding("kernels", "not built: training cannot start", "problem", remedy)]
    slow = ("avx2" in words or "avx512f" in words) and isa in ("sse2", "scalar", "reference")
    remedy = "Reinstall the wheel: its kernels were built without the wider instruction sets."
    return [*found, Finding("kernels", isa, "problem" if slow else "ok", remedy if slow else "")]


def processors(root: Path) -> list[Finding]:
    cores, quota = len(os.sched_getaffinity(0)), processor_quota(root)
    governors = {maybe_text(f) for f in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")}
    found = [Finding("cores", f"{cores} of {os.cpu_count()}")]
    if quota is not None:
        threads = max(1, int(quota[0]))
        low = quota[0] < cores
        remedy = f"Use at most --threads {threads}, or raise {Path(quota[1]).name}."
        found.append(Finding("core quota", f"{quota[0]:g} cores", "problem" if low else "ok", remedy if low else ""))
    if names := sorted(g for g in governors if g):
        slow = names == ["powersave"] and not (root / "sys/devices/system/cpu/intel_pstate").exists()
        remedy = "For speed: 'sudo cpupower frequency-set -g schedutil'."
        found.append(Finding("clock governor", ", ".join(names), "problem" if slow else "ok", remedy if slow else ""))
    return found


def memory(root: Path) -> list[Finding]:
    lines = (line.split() for line in (maybe_text(root / "proc/meminfo") or "").splitlines())
    sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1 and words[1].isdigit()}
    total, free = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    limit = memory_limit(root)
    found = [Finding("memory", f"{total / MB:.0f} MB, {free / MB:.0f} MB available")]
    room = free
    if limit is not None and limit[0] < total:
        room = min(free, limit[0])
        found.append(Finding("memory limit", f"{limit[0] / MB:.0f} MB ({Path(limit[1]).name})", "note"))
    enough = room >= 96 * MB
    found.append(
        Finding(
            "largest --ram", f"{room / MB * 0.9:.0f} MB" if enough else f"{room / MB:.0f} MB is short of 96 MB",
            "ok" if enough else "problem", "" if enough else "Stop other programs or raise the limit of memory.",
        )
    )  # fmt: skip
    return found


def pages(size: int) -> list[Finding]:
    value = f"{size // 1024} KiB"
    return [Finding("page size", value if size == 4096 else f"{value}: the resident set grows in larger steps",
                    "ok" if size == 4096 else "note")]  # fmt: skip


def disk(folder: Path, root: Path) -> list[Finding]:
    """File system and free space under ``folder``."""
    usage = shutil.disk_usage(folder)
    kind, best = "unknown", -1
    path = folder.resolve()
    for line in (maybe_text(root / "proc/mounts") or "").splitlines():
        words = line.split()
        if len(words) > 2 and (path == Path(words[1]) or Path(words[1]) in path.parents) and len(words[1]) > best:
            kind, best = words[2], len(words[1])
    found = []
    if kind in VOLATILE and kind != "overlay":
        remedy = "Put --store on a disk: what lies here is lost when the power goes."
        found.append(Finding("file system", f"{kind}, in RAM", "problem", remedy))
    else:
        found.append(Finding("file system", kind, "note" if kind == "unknown" else "ok"))
    short = usage.free < 200 * MB
    found.append(
        Finding("free space", f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB", "problem" if short else "ok",
                "Free some space, or set --store-limit." if short else "")
    )  # fmt: skip
    for name in ("life_time", "pre_eol_info"):
        for file in (root / "sys/block").glob(f"mmcblk*/device/{name}"):
            found.append(
                Finding(f"flash wear, {file.parents[1].name} {name}", maybe_text(file) or "unreadable", "note")
            )
    return found


def speed(folder: Path) -> list[Finding]:
    from .calibration.flash import measure_flash

    try:
        rates = measure_flash(folder, megabytes=16, seconds=0.4)
    except (OSError, EdgeclError) as error:
        remedy = "Choose a folder you may write to: edgecl doctor --disk DIR."
        return [Finding("flash speed", f"not measurable: {error}", "problem", remedy)]
    shown = (
        f"write {rates['write_bytes_per_s'] / MB:.0f} MB/s, read {rates['read_bytes_per_s'] / MB:.0f} MB/s, "
        f"{rates['write_iops']:.0f} synced writes/s"
    )
    slow = rates.get("write_bytes_per_s", 1e9) < 2e6
    remedy = "Use another card or disk: samples come faster than this one takes them."
    return [Finding("flash speed, measured", shown, "problem" if slow else "ok", remedy if slow else "")]


def energy(root: Path) -> list[Finding]:
    found, missing = sensors.energy_sensors(root)
    if found:
        return [Finding("energy sensor", f"{s.name}: {s.boundary}") for s in found]
    # a sensor that is there and may not be read is worth more than one that would have to be bought
    denied = [e for e in missing.values() if "may not be read" in e.cause]
    if denied:
        return [Finding("energy sensor", denied[0].cause, "problem", denied[0].remedy)]
    return [Finding("energy sensor", "none: model joules with --device, or give --energy-source csv:FILE", "note")]


def heat(root: Path) -> list[Finding]:
    now, trips = sensors.temperature(root), sensors.trip_points(root)
    if now is None:
        return [Finding("temperature", "no sensor: --max-temperature cannot be used", "note")]
    limit = trips.get("passive") or trips.get("hot") or trips.get("critical")
    text = f"{now[0]:.1f} C ({now[1]})" + (f", slows at {limit:g} C" if limit else "")
    near = limit is not None and now[0] > limit - 5
    remedy = "Cool it: a heat sink or a fan; or train with --max-temperature."
    return [Finding("temperature", text, "problem" if near else "ok", remedy if near else "")]


def throttled(root: Path) -> list[Finding]:
    state = sensors.throttling(root)
    if state.source == "not reported":
        return [Finding("throttling", state.source, "note")]
    if not state.now and not state.occurred:
        return [Finding("throttling", f"none ({state.source})")]
    text = f"now: {', '.join(state.now) or 'none'}; since the start: {', '.join(state.occurred) or 'none'}"
    weak = "under-voltage" in (*state.now, *state.occurred)
    remedy = "Use the board's own power supply and a short cable." if weak else "Cool it, or raise the frequency cap."
    return [Finding("throttling", text, "problem" if state.now or weak else "note", remedy)]


def battery(root: Path) -> list[Finding]:
    state = sensors.battery_state(root)
    if state is None:
        return []
    charge = "unknown charge" if state.charge is None else f"{state.charge:.0%}"
    return [Finding("battery", f"{charge}, {'external power' if state.external else 'discharging'}")]


def clock(now: float) -> list[Finding]:
    year = time.gmtime(now).tm_year
    if year >= 2024:
        return []
    return [
        Finding(
            "clock", f"the year is {year}", "problem", "Set it ('timedatectl'): samples are stored with their time."
        )
    ]


def expectation() -> list[Finding]:
    """Steps measured here, dense and at 90 % sparsity: the network 'cnn', 28x28 images, batch 32 and 32 replayed."""
    from ..graph.builders import build
    from .calibration.steps import make_step

    times = []
    for density in (1.0, 0.1):
        try:
            _, step = make_step(build("cnn", (1, 28, 28), 10, input_dtype="float32"), 64, density, 1)
        except (ImportError, EdgeclError) as error:
            return [Finding("a run here", f"cannot be measured: {error}", "note")]
        for _ in range(3):
            step()
        taken = []
        for _ in range(15):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
        times.append(sorted(taken)[len(taken) // 2])
    dense, sparse = (1000 * t for t in times)
    # split-mnist5k: 4000 images, 10 epochs, 32 new ones a step
    return [
        Finding(
            "step of 'cnn', 64 images, 1 thread, measured", f"{dense:.1f} ms dense, {sparse:.1f} ms at 90 % sparsity"
        ),
        Finding("split-mnist5k, 10 epochs", f"about {1250 * times[0]:.0f} s dense, {1250 * times[1]:.0f} s at 90 %"),
    ]
