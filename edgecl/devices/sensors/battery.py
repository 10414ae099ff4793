"""Batteries in /sys/class/power_supply: charge and charging, and discharge power (phones, laptops)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .base import EnergySensor, Sample, SensorError, maybe_number, maybe_text, read_number, sensor_root


@dataclass(frozen=True)
class BatteryState:
    """charge : fraction 0..1, None when not reported;  external : whether power comes from outside."""

    charge: float | None
    external: bool


def _batteries(root: Path) -> list[Path]:
    base = root / "sys/class/power_supply"
    # a battery of a mouse or a pen says scope "Device"
    return [
        f for f in sorted(base.glob("*")) if maybe_text(f / "type") == "Battery" and maybe_text(f / "scope") != "Device"
    ]


def battery_state(root: Path | None = None) -> BatteryState | None:
    """The machine's battery, or None without one."""
    found = _batteries(root or sensor_root())
    if not found:
        return None
    charges = [c / 100 for f in found if (c := maybe_number(f / "capacity")) is not None and 0 <= c <= 100]
    status = [maybe_text(f / "status") or "Unknown" for f in found]
    return BatteryState(min(charges) if charges else None, "Discharging" not in status)


class BatterySensor(EnergySensor):
    """Current x voltage of a discharging battery: the whole device, screen and radio included.

    The sign of current_now differs among vendors; its unit is uA by the kernel's rule, mA on some phones, which shows
    in values below 10,000: nothing that computes draws less than 10 mA. On external power there is no figure.
    """

    name = "battery"
    boundary = "whole device, discharging"
    interval = 1.0

    def __init__(self, root: Path | None = None) -> None:
        batteries = _batteries(root or sensor_root())
        if not batteries:
            raise SensorError("There is no battery.", "Use another energy source.")
        self._folder = batteries[0]
        read_number(self._folder / "voltage_now")
        if maybe_number(self._folder / "power_now") is None:
            read_number(self._folder / "current_now")

    def read(self) -> Sample:
        status = maybe_text(self._folder / "status")
        if status != "Discharging":
            raise SensorError(f"The battery is '{status}', so its current is not what the device draws.", "Unplug it.")
        power = maybe_number(self._folder / "power_now")  # uW, laptops
        if power is not None:
            return Sample(watts=abs(power) / 1e6)
        amperes = abs(read_number(self._folder / "current_now")) / 1e6
        if amperes < 0.01:
            amperes *= 1000
        return Sample(watts=amperes * read_number(self._folder / "voltage_now") / 1e6)
