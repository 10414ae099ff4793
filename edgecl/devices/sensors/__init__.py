"""Sensors of the machine: energy, temperature, throttling, battery, load. Each behind one small interface.

Every class takes ``root``, the folder that holds ``sys`` and ``proc``: ``/``, or where a container has the host's
(environment variable EDGECL_SENSORS_ROOT).
"""

from .base import EnergySensor, Sample, SensorError, sensor_root
from .battery import BatterySensor, BatteryState, battery_state
from .csvmeter import CsvMeter
from .find import SOURCES, Absent, energy_sensors, open_energy_sensor
from .hwmon import InaSensor
from .load import OtherLoad
from .meter import EnergyMeter
from .pmic import PmicSensor
from .rapl import RaplSensor
from .thermal import Throttling, temperature, throttling, trip_points

__all__ = [
    "SOURCES",
    "Absent",
    "BatterySensor",
    "BatteryState",
    "CsvMeter",
    "EnergyMeter",
    "EnergySensor",
    "InaSensor",
    "OtherLoad",
    "PmicSensor",
    "RaplSensor",
    "Sample",
    "SensorError",
    "Throttling",
    "battery_state",
    "energy_sensors",
    "open_energy_sensor",
    "sensor_root",
    "temperature",
    "throttling",
    "trip_points",
]
