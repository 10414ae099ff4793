"""A board with a meter on its input rail and a thermometer."""

import os
import sys
from pathlib import Path

tests = next(p for p in map(Path, sys.path) if p.name == "docs").parent
sys.path.insert(0, str(tests / "sensors"))
from sysfs import ORIN, plant  # noqa: E402

plant(Path("host"), ORIN)
plant(Path("host"), {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": 41000,
    "sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/BAT0/capacity": 80, "proc/loadavg": "0.10 0.10 0.10 1/100 1000",
})  # fmt: skip
os.environ["EDGECL_SENSORS_ROOT"] = str(Path("host").resolve())
