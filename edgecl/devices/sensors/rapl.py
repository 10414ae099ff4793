"""RAPL: the energy counters of x86 packages and their memory, in /sys/class/powercap."""

from __future__ import annotations

import re
from pathlib import Path

from .base import EnergySensor, Sample, SensorError, maybe_number, read_number, read_text, sensor_root


class RaplSensor(EnergySensor):
    """Sums the packages and, where counted apart, their DRAM. A counter wraps at max_energy_range_uj.

    One wrap between two readings is seen, two are not: at 100 W the smallest usual range, 65 kJ, lasts ten minutes.
    Readable by root only on most systems (CVE-2020-8694).
    """

    name = "rapl"
    boundary = "CPU packages and DRAM, not the board"

    def __init__(self, root: Path | None = None) -> None:
        base = (root or sensor_root()) / "sys/class/powercap"
        self._domains: dict[Path, tuple[float, float]] = {}  # folder: (last counter, range), uJ
        for folder in sorted(base.glob("intel-rapl:*")):
            name = read_text(folder / "name")
            package = re.fullmatch(r"intel-rapl:\d+", folder.name) is not None and name.startswith("package")
            if package or name == "dram":
                span = maybe_number(folder / "max_energy_range_uj") or float(2**32)
                self._domains[folder] = (read_number(folder / "energy_uj"), span)
        if not self._domains:
            raise SensorError(f"{base} has no RAPL packages.", "RAPL exists on x86 only; load intel_rapl_msr.")
        self._joules = 0.0

    def read(self) -> Sample:
        fresh = {folder: read_number(folder / "energy_uj") for folder in self._domains}
        for folder, now in fresh.items():
            last, span = self._domains[folder]
            self._joules += ((now - last) if now >= last else now + span - last) / 1e6
            self._domains[folder] = (now, span)
        return Sample(joules=self._joules)
