"""Trees of files as the kernel shows them, for the sensors' ``root``; a vcgencmd that is a script."""

import os
import shutil


def plant(root, files):
    """Write ``files`` {path: content} under ``root``."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


def plant_vcgencmd(folder, monkeypatch, answers):
    """A vcgencmd first on PATH that prints ``answers`` by its first argument, and fails on any other."""
    folder.mkdir(exist_ok=True)
    for name, text in answers.items():
        (folder / f"{name}.txt").write_text(text)
    program = folder / "vcgencmd"
    program.write_text(
        f'#!/bin/sh\n[ -f "{folder}/$1.txt" ] || {{ echo "VCHI failed" >&2; exit 255; }}\nexec cat "{folder}/$1.txt"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def no_vcgencmd(monkeypatch):
    """A PATH without vcgencmd, whatever this machine is."""
    found = shutil.which("vcgencmd")
    if found:
        kept = [p for p in os.environ["PATH"].split(os.pathsep) if p != os.path.dirname(found)]
        monkeypatch.setenv("PATH", os.pathsep.join(kept))


RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": 1_000_000,
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 262_143_328_850,
    "sys/class/powercap/intel-rapl:0:0/name": "core",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": 500_000,
    "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj": 262_143_328_850,
    "sys/class/powercap/intel-rapl:0:1/name": "dram",
    "sys/class/powercap/intel-rapl:0:1/energy_uj": 100_000,
    "sys/class/powercap/intel-rapl:0:1/max_energy_range_uj": 65_712_999_613,
}

ORIN = {
    "sys/class/hwmon/hwmon3/name": "ina3221",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon3/in1_input": 5000,
    "sys/class/hwmon/hwmon3/curr1_input": 1400,
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon3/in2_input": 5000,
    "sys/class/hwmon/hwmon3/curr2_input": 300,
    "sys/class/hwmon/hwmon3/in3_label": "NC",
    "sys/class/hwmon/hwmon3/in3_input": 0,
    "sys/class/hwmon/hwmon3/curr3_input": 0,
    "sys/class/hwmon/hwmon3/in7_label": "sum of shunt voltages",
    "sys/class/hwmon/hwmon3/in7_input": 4,
}

BATTERY = {
    "sys/class/power_supply/battery/type": "Battery",
    "sys/class/power_supply/battery/status": "Discharging",
    "sys/class/power_supply/battery/capacity": 80,
    "sys/class/power_supply/battery/voltage_now": 3_900_000,
    "sys/class/power_supply/battery/current_now": -500_000,
}

# a capture of `vcgencmd pmic_read_adc` has twelve rails with A and V, and EXT5V and BATT with V alone
PMIC = """     3V7_WL_SW_A current(0)=0.10000000A
   DDR_VDD2_A current(5)=0.20000000A
   VDD_CORE_A current(7)=1.50000000A
     3V7_WL_SW_V volt(8)=3.70000000V
   DDR_VDD2_V volt(13)=1.10000000V
   VDD_CORE_V volt(15)=0.80000000V
      EXT5V_V volt(24)=5.10000000V
       BATT_V volt(25)=0.00976000V
"""
