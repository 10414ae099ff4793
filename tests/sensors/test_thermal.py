"""Temperature, throttling, battery and load over trees of files as the kernel shows them."""

import pytest
from sysfs import BATTERY, no_vcgencmd, plant, plant_vcgencmd

from edgecl.devices.sensors import OtherLoad, battery_state, temperature, throttling, trip_points

ZONE = "sys/class/thermal/thermal_zone"


@pytest.fixture(autouse=True)
def without_firmware(monkeypatch):
    no_vcgencmd(monkeypatch)


def test_the_hottest_processor_zone_counts_and_other_zones_do_not(tmp_path):
    plant(tmp_path, {f"{ZONE}0/type": "cpu0-thermal", f"{ZONE}0/temp": 51000,
                     f"{ZONE}1/type": "cpu1-thermal", f"{ZONE}1/temp": 53500,
                     f"{ZONE}2/type": "battery", f"{ZONE}2/temp": 90000})  # fmt: skip
    assert temperature(tmp_path) == (53.5, "thermal_zone1 cpu1-thermal")


def test_where_no_zone_is_named_after_a_processor_the_hottest_counts(tmp_path):
    plant(tmp_path, {f"{ZONE}0/type": "acpitz", f"{ZONE}0/temp": 27800, f"{ZONE}1/type": "x", f"{ZONE}1/temp": 40})
    assert temperature(tmp_path) == (40.0, "thermal_zone1 x")


@pytest.mark.parametrize("nonsense", [-274000, 0, 999999, "", "error"])
def test_zones_that_report_nonsense_are_left_out(tmp_path, nonsense):
    plant(tmp_path, {f"{ZONE}0/type": "cpu", f"{ZONE}0/temp": nonsense, f"{ZONE}1/type": "soc", f"{ZONE}1/temp": 44000})
    assert temperature(tmp_path) == (44.0, "thermal_zone1 soc")


def test_a_zone_that_vanishes_leaves_the_others(tmp_path):
    plant(tmp_path, {f"{ZONE}0/type": "cpu", f"{ZONE}1/type": "soc", f"{ZONE}1/temp": 44000})
    assert temperature(tmp_path)[0] == 44.0


def test_without_zones_a_processor_chip_then_the_firmware_is_asked(tmp_path, monkeypatch):
    assert temperature(tmp_path) is None
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {"measure_temp": "temp=62.3'C\n"})
    assert temperature(tmp_path) == (62.3, "vcgencmd")
    plant(tmp_path, {"sys/class/hwmon/hwmon1/name": "k10temp", "sys/class/hwmon/hwmon1/temp1_input": 61000})
    assert temperature(tmp_path) == (61.0, "k10temp temp1_input")


def test_the_lowest_trip_point_of_each_kind(tmp_path):
    plant(tmp_path, {f"{ZONE}0/type": "cpu-thermal", f"{ZONE}0/temp": 50000,
                     f"{ZONE}0/trip_point_0_type": "critical", f"{ZONE}0/trip_point_0_temp": 110000,
                     f"{ZONE}0/trip_point_1_type": "passive", f"{ZONE}0/trip_point_1_temp": 85000,
                     f"{ZONE}0/trip_point_2_type": "passive", f"{ZONE}0/trip_point_2_temp": 80000})  # fmt: skip
    assert trip_points(tmp_path) == {"critical": 110.0, "passive": 80.0}


def test_the_firmwares_flags_say_what_is_and_what_was(tmp_path, monkeypatch):
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {"get_throttled": "throttled=0x50005\n"})
    found = throttling(tmp_path)
    assert found.now == ("under-voltage", "throttled") == found.occurred
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {"get_throttled": "throttled=0x80000\n"})
    assert throttling(tmp_path).now == () and throttling(tmp_path).occurred == ("soft temperature limit",)


def test_without_firmware_the_kernel_is_asked(tmp_path):
    assert throttling(tmp_path).source == "not reported"
    cpu = "sys/devices/system/cpu/cpu0"
    plant(tmp_path, {"sys/class/thermal/cooling_device0/type": "cpufreq-cpu0",
                     "sys/class/thermal/cooling_device0/cur_state": 0, f"{cpu}/cpufreq/scaling_max_freq": 1_500_000,
                     f"{cpu}/cpufreq/cpuinfo_max_freq": 1_500_000})  # fmt: skip
    assert throttling(tmp_path).now == ()
    plant(tmp_path, {"sys/class/thermal/cooling_device0/cur_state": 2, f"{cpu}/cpufreq/scaling_max_freq": 1_000_000,
                     f"{cpu}/thermal_throttle/core_throttle_count": 7})  # fmt: skip
    found = throttling(tmp_path)
    assert found.now == ("frequency capped", "throttled") and found.occurred == ("throttled",)


def test_a_battery_tells_charge_and_whether_power_comes_from_outside(tmp_path):
    assert battery_state(tmp_path) is None
    state = battery_state(plant(tmp_path, BATTERY))
    assert state.charge == 0.8 and not state.external
    plant(tmp_path, {"sys/class/power_supply/battery/status": "Full"})
    assert battery_state(tmp_path).external


def test_the_battery_of_a_mouse_is_not_the_machines(tmp_path):
    plant(tmp_path, {**BATTERY, "sys/class/power_supply/battery/scope": "Device"})
    assert battery_state(tmp_path) is None


def test_load_is_what_others_took_of_all_processors(tmp_path):
    plant(tmp_path, {"proc/stat": "cpu  1000 0 0 1000 0 0 0 0 0 0\ncpu0 0"})
    load = OtherLoad(tmp_path)
    plant(tmp_path, {"proc/stat": "cpu  13000 0 0 9000 0 0 0 0 0 0\ncpu0 0"})
    assert load.read() == pytest.approx(0.6, abs=0.01)  # 120 s busy of 200 s; ours is next to nothing
    assert load.read() is None  # no time has passed
    (tmp_path / "proc/stat").unlink()
    assert load.read() is None
