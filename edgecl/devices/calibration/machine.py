"""calibrate: a whole profile of this machine, in minutes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...budget.meters import resident
from ...errors import EdgeclError
from ..calibrate import figure, keep_calibrated, memory_bytes, numpy_probe, profile_tables
from ..cost import CostModel
from ..profile import Profile
from ..schema import parse_profile
from ..sensors import EnergyMeter, SensorError, open_energy_sensor
from ..workload import operations
from .effort import chosen
from .flash import measure_flash
from .heat import add_heat, busy_step, heated
from .kernels import fastest, fit_kernels, timed_steps
from .networks import NETWORKS
from .start import keep_what_is_known
from .steps import TimedStep, time_step
from .toml import to_toml

HELD_OUT = 5  # folds of networks, each left out once for the band
Say = Callable[[str], None]


def calibrate(
    out: Path | None = None, folder: Path | None = None, say: Say = lambda text: None, hot_seconds: float = 0.0
) -> Profile:
    """Measure and return this machine's profile; from now on it is 'host'. What is not measured here stays as the
    shipped profile of the board has it. At most half of the RAM is taken, and a few minutes (`effort`).

    out : TOML file to write as well;  folder : on the disk to measure, default the working directory
    hot_seconds : afterwards keep all cores busy for so long, and note how much of the speed is left
    Raises `EdgeclError` when a probe cannot run.
    """
    cores = len(os.sched_getaffinity(0))
    say("matrix products and copies")
    found = numpy_probe(cores, full=True)
    data = profile_tables(found, cores)
    board = keep_what_is_known(data)
    say(f"board: {data['title']}" if board else "board: none that a shipped profile knows")
    graphs = {name: make() for name, make in NETWORKS.items()}
    room = memory_bytes() // 2 - resident()
    cases, passes, left_out = chosen(graphs, cores, parse_profile(data, "host"), room)
    for text in left_out:
        say(f"left out: {text}")
    if not cases:
        raise EdgeclError(f"Half of the RAM leaves {room / 1e6:.0f} MB, which holds no engine.", "Free some RAM.")
    steps = timed_steps(cases, graphs, passes, lambda network: say(f"kernels: {network}"))
    raise_peak(data, fastest(steps), found.flops)
    rough = parse_profile(data, "host")
    networks = list(dict.fromkeys(id(s.graph) for s in steps))
    ratios: list[float] = []
    for fold in range(HELD_OUT):
        out_of_fit = set(networks[fold::HELD_OUT])
        add_kernels(data, [s for s in steps if id(s.graph) not in out_of_fit], rough)
        ratios += measured_over_predicted([s for s in steps if id(s.graph) in out_of_fit], parse_profile(data, "host"))
    add_band(data, ratios)
    add_kernels(data, steps, rough)  # with all of them, now that the band is known
    add_scaling(data, steps, cores)
    say("disk")
    add_flash(data, folder or Path.cwd())
    say("power")
    add_power(data, cores)
    if hot_seconds:
        say(f"all cores busy for {hot_seconds:g} s")
        add_heat(data, heated(busy_step(graphs, cores), hot_seconds))
    profile = parse_profile(data, "host")
    if out is not None:
        try:
            out.write_text(to_toml(data, "Measured by: edgecl devices calibrate"))
        except OSError as error:
            raise EdgeclError(f"{out} cannot be written: {error.strerror}.", "Name another file.") from error
    keep_calibrated(data)
    return profile


def add_scaling(data: dict[str, Any], steps: list[TimedStep], cores: int) -> None:
    """How our kernels share the cores at the numbers of threads between one and all, from the largest net timed so."""
    alone = [s for s in steps if s.threads == 1 and s.batch == 32] or [s for s in steps if s.threads == 1]
    if cores < 3 or not alone:
        return
    base = max(alone, key=lambda s: s.seconds)
    source = "edgecl devices calibrate, one training step with so many threads"
    table = {int(e["threads"]): e for e in data["kernels"]["parallel"]}
    for threads in range(2, cores):
        step = time_step(base.graph, base.batch, base.density, threads, seconds=0.1, rounds=3)
        gained = min(base.seconds / (threads * step.seconds), 1.0)
        table[threads] = {"threads": threads, **figure(gained, "measured", source)}
    data["kernels"]["parallel"] = [table[t] for t in sorted(table)]


def raise_peak(data: dict[str, Any], fastest_kernel: float, products: dict[int, float]) -> None:
    """The FMA peak is at least the fastest of our kernels, where the installed matrix product is slower than those."""
    if fastest_kernel <= products[1]:
        return
    cluster = data["clusters"][0]
    source = "fastest operations of our kernels, per clock: a lower bound of the FMA peak"
    cluster["flop_per_cycle"] = figure(fastest_kernel / cluster["ghz"]["value"] / 1e9, "measured", source)
    data["gemm"]["efficiency"] = [
        {"threads": t, **figure(f / (t * fastest_kernel), "measured", "numpy float32 matrix product")}
        for t, f in sorted(products.items())
    ]


def add_kernels(data: dict[str, Any], steps: list[TimedStep], rough: Profile) -> None:
    """Rates of our kernels and what a step costs besides, into a profile's tables."""
    source = "edgecl devices calibrate, seconds of every operation of training steps"
    fit = fit_kernels(steps, rough.peak_flops, rough.bandwidth, source)
    table = data["kernels"]
    for name in ("forward_loop", "weight_loop"):
        table.pop(name, None)
    threads = max(s.threads for s in steps)
    table["parallel"] = [{"threads": 1, **figure(1.0, "derived", "by definition")}]
    if threads > 1:
        table["parallel"].append({"threads": threads, **figure(fit.parallel, "measured", source)})
    table["step_seconds"] = figure(fit.step_seconds, "measured", source, "s")
    table["tensor_seconds"] = figure(fit.tensor_seconds, "measured", source, "s")
    table["feed_bytes_per_s"] = figure(fit.feed_rate, "measured", source, "B/s")
    table["update_traffic"] = figure(fit.update_traffic, "measured", source)
    table["sparse_update_traffic"] = figure(fit.sparse_update_traffic, "measured", source)
    table["rates"] = [
        {"kind": kind, "phase": phase, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(rates).items()}}
        for (kind, phase), rates in fit.rates.items()
    ]


def measured_over_predicted(steps: list[TimedStep], profile: Profile) -> list[float]:
    return [
        s.seconds / CostModel(profile, s.threads).step(operations(s.graph, s.batch, "train", s.densities)).seconds
        for s in steps
    ]


def add_band(data: dict[str, Any], ratios: list[float]) -> None:
    """Factors that hold nine in ten of ``ratios``, and at least a tenth either way."""
    source = f"5 % and 95 % of measured over predicted seconds, {len(ratios)} steps of networks left out"
    data["model"]["band_low"] = figure(min(float(np.quantile(ratios, 0.05)), 0.9), "measured", source)
    data["model"]["band_high"] = figure(max(float(np.quantile(ratios, 0.95)), 1.1), "measured", source)


def add_flash(data: dict[str, Any], folder: Path) -> None:
    """Speed of the disk under ``folder``; left out when it cannot be written."""
    try:
        found = measure_flash(folder)
    except OSError:
        return
    source = "edgecl devices calibrate: 64 MB file, 4 KB random"
    units = {"write_bytes_per_s": "B/s", "read_bytes_per_s": "B/s", "fsync_seconds": "s"}
    measured = {k: figure(v, "measured", source, units.get(k, "")) for k, v in found.items()}
    data["flash"] = {**data.get("flash", {}), **measured}


def add_power(data: dict[str, Any], cores: int, seconds: float = 3.0) -> None:
    """Watts idle and with one and all cores busy; left out without a sensor."""
    try:
        sensor = open_energy_sensor()
    except SensorError:
        return
    watts: dict[str, float | None] = {}
    for name, busy in (("idle", 0), ("one_core", 1), ("all_cores", cores)):
        watts[name] = _watts(EnergyMeter(sensor), busy, seconds)
    if all(w is not None for w in watts.values()):
        source = f"edgecl devices calibrate, {sensor.name}: {sensor.boundary}"
        data["power"] = {k: figure(w, "measured", source, "W") for k, w in watts.items() if w is not None}


def _watts(meter: EnergyMeter, busy: int, seconds: float) -> float | None:
    """Mean power while ``busy`` threads multiply matrices."""
    stop = threading.Event()

    def work() -> None:
        a = np.ones((256, 256), np.float32)
        b = a.copy()
        while not stop.is_set():
            np.matmul(a, a, out=b)

    workers = [threading.Thread(target=work) for _ in range(busy)]
    for w in workers:
        w.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        meter.poll()
    stop.set()
    for w in workers:
        w.join()
    meter.poll(force=True)
    return meter.watts
