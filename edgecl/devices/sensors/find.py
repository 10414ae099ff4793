"""Which energy sensors this machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import unknown_name
from .base import EnergySensor, SensorError, sensor_root
from .battery import BatterySensor
from .csvmeter import CsvMeter
from .hwmon import InaSensor
from .pmic import PmicSensor
from .rapl import RaplSensor

# the widest boundary first: what is drawn from the supply, then parts of the board
_MAKERS: dict[str, Callable[[Path], EnergySensor]] = {
    "ina": InaSensor,
    "pmic": lambda root: PmicSensor(),
    "rapl": RaplSensor,
    "battery": BatterySensor,
}
SOURCES = ("auto", *_MAKERS, "csv:FILE")


class Absent(SensorError):
    """No sensor answers; the cause lists each with its reason."""


def energy_sensors(root: Path | None = None) -> tuple[list[EnergySensor], dict[str, SensorError]]:
    """(sensors that answer, {name: why not}). On external power a battery does not answer."""
    root = root or sensor_root()
    found, missing = [], {}
    for name, make in _MAKERS.items():
        try:
            sensor = make(root)
            sensor.read()
            found.append(sensor)
        except SensorError as error:
            missing[name] = error
    return found, missing


def open_energy_sensor(source: str = "auto", root: Path | None = None) -> EnergySensor:
    """A sensor by name: ``ina``, ``pmic``, ``rapl``, ``battery``, ``csv:FILE``; ``auto`` takes the first that answers.

    Raises `SensorError` with the reason, `BadInput` for an unknown name.
    """
    if source.startswith("csv:"):
        return CsvMeter(source[4:])
    if source in _MAKERS:
        return _MAKERS[source](root or sensor_root())
    if source != "auto":
        raise unknown_name("energy source", source, (*SOURCES, "profile"))
    found, missing = energy_sensors(root)
    if not found:
        listed = "; ".join(f"{name}: {error.cause}" for name, error in missing.items())
        raise Absent(f"No energy sensor answers. {listed}", "Name a device profile, or give csv:FILE of a meter.")
    return found[0]
