"""Energy sensors over trees of files as the kernel shows them."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysfs import BATTERY, ORIN, PMIC, RAPL, no_vcgencmd, plant, plant_vcgencmd

from edgecl.devices.sensors import (
    BatterySensor,
    CsvMeter,
    EnergyMeter,
    EnergySensor,
    InaSensor,
    PmicSensor,
    RaplSensor,
    Sample,
    SensorError,
    energy_sensors,
    open_energy_sensor,
)
from edgecl.errors import BadInput

COUNTER = "sys/class/powercap/intel-rapl:0/energy_uj"


class Steps:
    """A clock that stands where it is put."""

    now = 0.0

    def __call__(self):
        return self.now


def test_rapl_sums_packages_and_dram_and_leaves_out_parts_of_a_package(tmp_path):
    sensor = RaplSensor(plant(tmp_path, RAPL))
    plant(
        tmp_path,
        {COUNTER: 3_000_000, COUNTER.replace(":0/", ":0:0/"): 900_000, COUNTER.replace(":0/", ":0:1/"): 600_000},
    )
    assert sensor.read().joules == pytest.approx(2.0 + 0.5)
    assert sensor.read().joules == pytest.approx(2.5)
    assert sensor.source.startswith("measured(rapl")


def test_a_rapl_counter_that_wraps_goes_on_counting(tmp_path):
    plant(tmp_path, {**RAPL, COUNTER: 262_143_000_000})
    sensor = RaplSensor(tmp_path)
    plant(tmp_path, {COUNTER: 671_150})
    assert sensor.read().joules == pytest.approx((262_143_328_850 - 262_143_000_000 + 671_150) / 1e6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 999_999), min_size=1, max_size=20), st.integers(0, 999_999))
def test_a_counter_read_between_wraps_equals_one_that_never_wraps(tmp_path_factory, gains, start):
    root = plant(
        tmp_path_factory.mktemp("rapl"),
        {"sys/class/powercap/intel-rapl:0/name": "package-0", COUNTER: start,
         "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 1_000_000},
    )  # fmt: skip
    sensor, total = RaplSensor(root), start
    for gain in gains:
        total += gain
        plant(root, {COUNTER: total % 1_000_000})
        assert sensor.read().joules == pytest.approx((total - start) / 1e6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_counter_that_may_not_be_read_says_how_to_allow_it(tmp_path):
    plant(tmp_path, RAPL)
    (tmp_path / COUNTER).chmod(0)
    with pytest.raises(SensorError, match="may not be read") as error:
        RaplSensor(tmp_path)
    assert "chmod" in error.value.remedy


def test_permission_denied_by_the_kernel_says_how_to_allow_it(tmp_path, monkeypatch):
    """Root reads any file mode, so the refusal comes from the call that opens the file."""
    plant(tmp_path, RAPL)
    from pathlib import Path

    read = Path.read_text

    def refuse(self, *args, **kw):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kw)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SensorError, match="may not be read") as error:
        RaplSensor(tmp_path)
    assert "root" in error.value.remedy


@pytest.mark.parametrize("content", ["", "garbage"])
def test_a_counter_without_a_number_is_an_error_and_not_zero(tmp_path, content):
    with pytest.raises(SensorError, match="not a number"):
        RaplSensor(plant(tmp_path, {**RAPL, COUNTER: content}))


@pytest.mark.parametrize("chip", ["ina219", "ina226"])
def test_a_single_monitor_is_volts_times_amperes_or_the_drivers_own_power(tmp_path, chip):
    base = "sys/class/hwmon/hwmon2"
    plant(
        tmp_path, {f"{base}/name": chip, f"{base}/in0_input": 3, f"{base}/in1_input": 5100, f"{base}/curr1_input": 600}
    )
    assert InaSensor(tmp_path).read().watts == pytest.approx(5.1 * 0.6)
    plant(tmp_path, {f"{base}/power1_input": 3_100_000})
    assert InaSensor(tmp_path).read().watts == pytest.approx(3.1)


def test_the_input_rail_of_a_jetson_stands_for_the_board(tmp_path):
    sensor = InaSensor(plant(tmp_path, ORIN))
    assert sensor.read().watts == pytest.approx(7.0) and "VDD_IN" in sensor.boundary


def test_without_an_input_rail_the_labelled_channels_add_up(tmp_path):
    plant(tmp_path, {**ORIN, "sys/class/hwmon/hwmon3/in1_label": "VDD_SOC"})
    sensor = InaSensor(tmp_path)
    assert sensor.read().watts == pytest.approx(7.0 + 1.5) and "NC" not in sensor.boundary


def test_the_older_jetson_driver_reports_milliwatts(tmp_path):
    base = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    plant(tmp_path, {f"{base}/rail_name_0": "POM_5V_IN", f"{base}/in_power0_input": 3100,
                     f"{base}/rail_name_1": "POM_5V_GPU", f"{base}/in_power1_input": 40,
                     f"{base}/rail_name_2": "POM_5V_CPU", f"{base}/in_power2_input": 700})  # fmt: skip
    assert InaSensor(tmp_path).read().watts == pytest.approx(3.1)


def test_the_power_chip_of_a_pi_5_sums_rails_that_have_volts_and_amperes(tmp_path, monkeypatch):
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {"pmic_read_adc": PMIC})
    sensor = PmicSensor()
    assert sensor.read().watts == pytest.approx(0.37 + 0.22 + 1.2)
    assert sensor.interval >= 1  # a call takes 50 ms


def test_a_pi_4_whose_firmware_refuses_has_no_power_chip_sensor(tmp_path, monkeypatch):
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {})
    with pytest.raises(SensorError, match="VCHI failed"):
        PmicSensor()
    plant_vcgencmd(tmp_path / "bin", monkeypatch, {"pmic_read_adc": 'error=1 error_msg="Command not registered"'})
    with pytest.raises(SensorError, match="not registered"):
        PmicSensor()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("unit", [1, 1000])
def test_a_batterys_power_has_no_sign_and_its_current_is_in_micro_or_milliamperes(tmp_path, sign, unit):
    plant(tmp_path, {**BATTERY, "sys/class/power_supply/battery/current_now": sign * 500_000 // unit})
    assert BatterySensor(tmp_path).read().watts == pytest.approx(0.5 * 3.9)


def test_a_laptop_battery_reports_power(tmp_path):
    plant(tmp_path, {**BATTERY, "sys/class/power_supply/battery/power_now": 8_000_000})
    assert BatterySensor(tmp_path).read().watts == pytest.approx(8.0)


def test_a_battery_on_external_power_does_not_say_what_the_device_draws(tmp_path):
    sensor = BatterySensor(plant(tmp_path, BATTERY))
    plant(tmp_path, {"sys/class/power_supply/battery/status": "Charging"})
    with pytest.raises(SensorError, match="Charging"):
        sensor.read()


# --- an external meter


def csv(tmp_path, text):
    (tmp_path / "meter.csv").write_text(text)
    return tmp_path / "meter.csv"


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def test_rows_before_the_start_do_not_count_and_later_ones_are_integrated(tmp_path):
    path = csv(tmp_path, "time,watts\n0,100\n1,100\n")
    meter = CsvMeter(path)
    append(path, "2,4\n3,6\n")
    assert meter.read().joules == pytest.approx(5)
    append(path, "5,6\n6,")
    assert meter.read().joules == pytest.approx(5 + 12)
    append(path, "8\n")
    assert meter.read().joules == pytest.approx(5 + 12 + 7)


def test_volts_and_amperes_do_and_lines_that_are_no_rows_are_skipped(tmp_path):
    path = csv(tmp_path, "Timestamp,Voltage,Current\n")
    meter = CsvMeter(path)
    append(path, "0,5,1\nrestart\n2,5,nan\n4,5,1\n")
    assert meter.read().joules == pytest.approx(20)


def test_a_meter_whose_logger_begins_anew_goes_on(tmp_path):
    path = csv(tmp_path, "t,w\n")
    meter = CsvMeter(path)
    append(path, "0,10.00\n1,10.00\n")
    assert meter.read().joules == pytest.approx(10)
    csv(tmp_path, "t,w\n5,10\n")
    append(path, "6,10\n")
    assert meter.read().joules == pytest.approx(20)


def test_a_meter_that_falls_silent_or_vanishes_is_an_error(tmp_path):
    path = csv(tmp_path, "t,w\n")
    meter = CsvMeter(path)
    with pytest.raises(SensorError, match="no new row"):
        for _ in range(40):
            meter.read()
    path.unlink()
    with pytest.raises(SensorError, match="cannot be read"):
        meter.read()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "time,volts\n1,2\n"])
def test_a_file_without_the_columns_is_refused(tmp_path, text):
    with pytest.raises(SensorError):
        CsvMeter(csv(tmp_path, text))


# --- the meter over any of them


class Fake(EnergySensor):
    """Readings as given, one after another; an exception is raised."""

    name, boundary, interval = "list", "test", 1.0

    def __init__(self, readings):
        self.readings = list(readings)

    def read(self):
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading


def metered(readings, times):
    clock = Steps()
    meter = EnergyMeter(Fake(readings), clock=clock)
    for now in times:
        clock.now = now
        meter.poll()
    return meter


def test_power_is_integrated_between_readings():
    meter = metered([Sample(watts=w) for w in (2, 4, 4)], [1, 3])
    assert meter.joules == pytest.approx(3 + 8) and meter.watts == pytest.approx(11 / 3)


def test_the_sensor_is_read_no_more_often_than_it_allows():
    meter = metered([Sample(watts=2), Sample(watts=2)], [0.2, 0.4, 0.99, 1.0])
    assert meter.joules == pytest.approx(2) and not meter.sensor.readings


def test_a_gap_in_power_is_filled_with_the_mean_and_told():
    gone = SensorError("gone")
    meter = metered([Sample(watts=2), Sample(watts=2), gone, gone, Sample(watts=8), Sample(watts=8)], [1, 2, 3, 4, 5])
    assert meter.joules == pytest.approx(2 + 2 + 2 + 8 + 8)
    assert meter.estimated_seconds == 2 and "40%" in meter.source


def test_a_gap_in_a_counter_is_closed_by_the_counter():
    gone = SensorError("gone")
    meter = metered([Sample(joules=0), Sample(joules=2), gone, gone, Sample(joules=20)], [1, 2, 3, 4])
    assert meter.joules == pytest.approx(20) and meter.estimated_seconds == 0


def test_a_vanished_sensor_leaves_an_estimate_and_a_reason(tmp_path):
    clock, root = Steps(), plant(tmp_path, RAPL)
    meter = EnergyMeter(RaplSensor(root), clock=clock)
    clock.now = 1.0
    plant(root, {COUNTER: 6_000_000})
    meter.poll()
    (root / COUNTER).unlink()
    clock.now = 3.0
    assert meter.poll() == pytest.approx(15) and meter.error is not None and "estimated" in meter.source


# --- what is here


def test_the_widest_boundary_is_chosen_and_the_others_say_why_not(tmp_path, monkeypatch):
    no_vcgencmd(monkeypatch)
    plant(tmp_path, {**ORIN, **RAPL})
    found, missing = energy_sensors(tmp_path)
    assert [s.name for s in found] == ["ina", "rapl"] and set(missing) == {"pmic", "battery"}
    assert open_energy_sensor("auto", tmp_path).name == "ina"
    assert open_energy_sensor("rapl", tmp_path).name == "rapl"


def test_a_machine_without_sensors_lists_what_was_tried(tmp_path, monkeypatch):
    no_vcgencmd(monkeypatch)
    with pytest.raises(SensorError) as error:
        open_energy_sensor("auto", tmp_path)
    assert all(name in error.value.cause for name in ("ina", "pmic", "rapl", "battery"))


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(BadInput, match="raple"):
        open_energy_sensor("raple", tmp_path)
