"""EnergySensor: what every source of joules offers, and how files of the kernel are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ...errors import EdgeclError


class SensorError(EdgeclError):
    """A sensor is absent, may not be read, or stopped answering."""


@dataclass(frozen=True)
class Sample:
    """One reading: ``joules`` counted since the sensor was made, or present ``watts``. One of them is None."""

    joules: float | None = None
    watts: float | None = None


class EnergySensor(ABC):
    """A source of energy figures.

    name : short, as `open_energy_sensor` takes it
    boundary : what the figure covers (figures of different boundaries must never be compared)
    interval : seconds between readings that do not disturb what is measured
    """

    name: str
    boundary: str
    interval: float = 0.5

    @abstractmethod
    def read(self) -> Sample:
        """The present reading. Raises `SensorError` when there is none; a later call may succeed."""

    @property
    def source(self) -> str:
        """The label of a figure from this sensor."""
        return f"measured({self.name}: {self.boundary})"


def sensor_root() -> Path:
    """$EDGECL_SENSORS_ROOT, else ``/``."""
    return Path(os.environ.get("EDGECL_SENSORS_ROOT") or "/")


def read_text(path: Path) -> str:
    """The file's text, stripped. Raises `SensorError` naming the file and what helps."""
    try:
        return path.read_text(errors="replace").strip()
    except PermissionError as error:
        raise SensorError(f"{path} may not be read.", f"Run as root, or allow it: 'sudo chmod a+r {path}'.") from error
    except OSError as error:
        raise SensorError(f"{path} cannot be read: {error.strerror or error}.", "Is the driver loaded?") from error


def read_number(path: Path) -> float:
    """The file's number. Raises `SensorError`."""
    text = read_text(path)
    try:
        return float(text)
    except ValueError:
        raise SensorError(f"{path} holds '{text[:40]}', not a number.", "Report this sensor.") from None


def maybe_text(path: Path) -> str | None:
    """The file's text, or None where it cannot be read."""
    try:
        return read_text(path)
    except SensorError:
        return None


def maybe_number(path: Path) -> float | None:
    """The file's number, or None where there is none."""
    try:
        return read_number(path)
    except SensorError:
        return None
