"""INA219, INA226 and INA3221 power monitors: hwmon, and the iio driver of JetPack 4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from .base import EnergySensor, Sample, SensorError, maybe_number, maybe_text, read_number, sensor_root

ONE_CHANNEL = ("ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238")
TOTALS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "5V_IN", "VIN")  # rails that feed the whole board

Rail = tuple[str, Callable[[], float]]  # label, present watts


class InaSensor(EnergySensor):
    """The board's input rail where one is labelled so (Jetson), else the sum of what the monitors see."""

    name = "ina"

    def __init__(self, root: Path | None = None) -> None:
        root = root or sensor_root()
        rails = [*_hwmon_rails(root / "sys/class/hwmon"), *_iio_rails(root / "sys/bus/i2c/drivers/ina3221x")]
        if not rails:
            raise SensorError(
                "No INA219, INA226 or INA3221 monitor was found.",
                "Add its overlay, such as 'dtoverlay=i2c-sensor,ina226' on a Raspberry Pi.",
            )
        total = [rail for rail in rails if rail[0] in TOTALS]
        self.rails = tuple(total[:1] or rails)
        self.boundary = f"input rail {total[0][0]}" if total else "rails " + " + ".join(label for label, _ in rails)
        self.read()  # a monitor that may not be read is no sensor

    def read(self) -> Sample:
        return Sample(watts=sum(watts() for _, watts in self.rails))


def _hwmon_rails(base: Path) -> Iterator[Rail]:
    for folder in sorted(base.glob("hwmon*")):
        chip = maybe_text(folder / "name") or ""
        if chip in ONE_CHANNEL:
            yield chip, _one_channel(folder)
        elif chip == "ina3221":
            for n in (1, 2, 3):
                label = maybe_text(folder / f"in{n}_label") or f"channel {n}"
                if label != "NC" and (folder / f"in{n}_input").exists() and maybe_number(folder / f"in{n}_enable") != 0:
                    yield label, _product(folder / f"in{n}_input", folder / f"curr{n}_input")


def _one_channel(folder: Path) -> Callable[[], float]:
    """power1 in uW where the driver computes it, else bus voltage in1 (mV) x curr1 (mA)."""
    if (folder / "power1_input").exists():
        return lambda: read_number(folder / "power1_input") / 1e6
    return _product(folder / "in1_input", folder / "curr1_input")


def _product(millivolts: Path, milliamperes: Path) -> Callable[[], float]:
    return lambda: read_number(millivolts) * read_number(milliamperes) / 1e6


def _iio_rails(base: Path) -> Iterator[Rail]:
    for folder in sorted(base.glob("*/iio:device*")):
        for n in (0, 1, 2):
            label, power = maybe_text(folder / f"rail_name_{n}"), folder / f"in_power{n}_input"
            if label and label != "NC" and power.exists():
                yield label, _milliwatts(power)


def _milliwatts(power: Path) -> Callable[[], float]:
    return lambda: read_number(power) / 1000
