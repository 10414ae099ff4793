"""calibrate: a whole profile of this machine, in less than two minutes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EdgeclError
from ..calibrate import figure, keep_calibrated, numpy_probe, profile_tables
from ..cost import CostModel
from ..profile import Profile
from ..schema import parse_profile
from ..sensors import EnergyMeter, SensorError, open_energy_sensor
from ..workload import operations
from .flash import measure_flash
from .kernels import fastest, fit_kernels, timed_steps
from .steps import TimedStep
from .toml import to_toml

HELD_OUT = 5  # folds of networks, each left out once for the band
Say = Callable[[str], None]


def calibrate(out: Path | None = None, folder: Path | None = None, say: Say = lambda text: None) -> Profile:
    """Measure and return this machine's profile; from now on it is 'host'.

    out : TOML file to write as well;  folder : on the disk to measure, default the working directory
    Raises `EdgeclError` when a probe cannot run.
    """
    cores = len(os.sched_getaffinity(0))
    say("matrix products and copies")
    found = numpy_probe(cores, full=True)
    data = profile_tables(found, cores)
    steps = timed_steps(cores, lambda network: say(f"kernels: {network}"))
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
    say("disk")
    add_flash(data, folder or Path.cwd())
    say("power")
    add_power(data, cores)
    profile = parse_profile(data, "host")
    if out is not None:
        try:
            out.write_text(to_toml(data, "Measured by: edgecl devices calibrate"))
        except OSError as error:
            raise EdgeclError(f"{out} cannot be written: {error.strerror}.", "Name another file.") from error
    keep_calibrated(data)
    return profile


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
    data["flash"] = {k: figure(v, "measured", source, units.get(k, "")) for k, v in found.items()}


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
