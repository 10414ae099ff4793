"""Temperature and throttling: thermal zones, hwmon, cooling devices, cpufreq, and the Raspberry Pi's firmware."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .base import SensorError, maybe_number, maybe_text, sensor_root
from .vcgencmd import vcgencmd

CPU_ZONE = re.compile(r"cpu|soc|x86_pkg|pkg-temp|big|little|mid|gold|silver|prime|ap-?therm|mtktscpu", re.IGNORECASE)
CPU_CHIPS = ("k10temp", "zenpower", "coretemp", "cpu_thermal")
# vcgencmd get_throttled: bits 0-3 now, the same shifted by 16 since the system started
FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True)
class Throttling:
    """What slows the processor: ``now``, and ``occurred`` since the system started. source : who says so."""

    now: tuple[str, ...] = ()
    occurred: tuple[str, ...] = ()
    source: str = "not reported"


def temperature(root: Path | None = None) -> tuple[float, str] | None:
    """(degrees Celsius, source) of the hottest processor sensor, or None.

    Zones named after a processor count; where there is none, the hottest of all zones; then hwmon, then vcgencmd.
    """
    root = root or sensor_root()
    zones = {}
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _degrees(maybe_number(folder / "temp"))
        if value is not None:
            zones[f"{folder.name} {maybe_text(folder / 'type') or ''}".strip()] = value
    chosen = {name: value for name, value in zones.items() if CPU_ZONE.search(name.split(" ", 1)[-1])} or zones
    if not chosen:
        for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
            if (chip := maybe_text(folder / "name")) in CPU_CHIPS:
                for file in folder.glob("temp*_input"):
                    if (value := _degrees(maybe_number(file))) is not None:
                        chosen[f"{chip} {file.name}"] = value
    if chosen:
        hottest = max(chosen, key=lambda name: chosen[name])
        return chosen[hottest], hottest
    try:
        found = re.search(r"temp=([0-9.]+)", vcgencmd("measure_temp"))
    except SensorError:
        return None
    return (float(found[1]), "vcgencmd") if found else None


def _degrees(value: float | None) -> float | None:
    """Thousandths of a degree by the kernel's rule, whole degrees in some vendors' zones; nonsense is None."""
    if value is None:
        return None
    degrees = value / 1000 if abs(value) >= 200 else value
    return degrees if -40 <= degrees <= 150 and value != 0 else None


def trip_points(root: Path | None = None) -> dict[str, float]:
    """{kind: lowest degrees Celsius} of the processor zones' trip points: passive, hot, critical ..."""
    found: dict[str, float] = {}
    for zone in sorted(((root or sensor_root()) / "sys/class/thermal").glob("thermal_zone*")):
        if not CPU_ZONE.search(maybe_text(zone / "type") or ""):
            continue
        for file in sorted(zone.glob("trip_point_*_temp")):
            kind = maybe_text(file.with_name(file.name.replace("_temp", "_type")))
            degrees = _degrees(maybe_number(file))
            if kind and degrees is not None and degrees > 0:
                found[kind] = min(degrees, found.get(kind, degrees))
    return found


def throttling(root: Path | None = None) -> Throttling:
    """Firmware flags on a Raspberry Pi, else cooling devices, frequency caps and x86 throttle counters."""
    try:
        found = re.search(r"throttled=0x([0-9a-fA-F]+)", vcgencmd("get_throttled"))
    except SensorError:
        found = None
    if found:
        bits = int(found[1], 16)
        now = tuple(name for bit, name in FLAGS.items() if bits >> bit & 1)
        before = tuple(name for bit, name in FLAGS.items() if bits >> bit + 16 & 1)
        return Throttling(now, before, "vcgencmd get_throttled")
    return _kernel_throttling(root or sensor_root())


def _kernel_throttling(root: Path) -> Throttling:
    now, occurred, asked = set(), set(), []
    for device in (root / "sys/class/thermal").glob("cooling_device*"):
        kind, state = maybe_text(device / "type") or "", maybe_number(device / "cur_state")
        if state is not None and ("cpufreq" in kind or kind == "Processor"):
            asked.append("cooling devices")
            if state > 0:
                now.add("throttled")
    for policy in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"):
        cap, top = maybe_number(policy / "scaling_max_freq"), maybe_number(policy / "cpuinfo_max_freq")
        if cap is not None and top is not None:
            asked.append("cpufreq")
            if cap < top:
                now.add("frequency capped")
    for counter in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        asked.append("thermal_throttle")
        if maybe_number(counter):
            occurred.add("throttled")
    return Throttling(tuple(sorted(now)), tuple(sorted(occurred)), ", ".join(dict.fromkeys(asked)) or "not reported")
