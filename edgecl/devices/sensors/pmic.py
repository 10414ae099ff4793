"""The power management chip of a Raspberry Pi 5, through ``vcgencmd pmic_read_adc``."""

from __future__ import annotations

import re

from .base import EnergySensor, Sample, SensorError
from .vcgencmd import vcgencmd

LINE = re.compile(r"^\s*(\w+)_([AV])\s+\w+\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)


class PmicSensor(EnergySensor):
    """Sum of volts x amperes over the rails that report both.

    The 5 V input reports no current, so USB, NVMe and the converter's loss are not in it (idle: 1.55 W here against
    2.8 W at the wall). A call takes 50 ms: it is not made often, and never inside a timed step.
    """

    name = "pmic"
    boundary = "PMIC rails, without 5 V input, USB and NVMe"
    interval = 5.0

    def __init__(self) -> None:
        self.read()

    def read(self) -> Sample:
        found: dict[str, dict[str, float]] = {}
        for rail, kind, value in LINE.findall(vcgencmd("pmic_read_adc")):
            found.setdefault(rail, {})[kind] = float(value)
        both = [rail for rail in found.values() if len(rail) == 2]
        if not both:
            raise SensorError("The power management chip reports no rails.", "It does on a Raspberry Pi 5 only.")
        return Sample(watts=sum(rail["A"] * rail["V"] for rail in both))
