"""The doctor over trees of files as the kernel shows them: what it finds, and one remedy for every problem."""

import json
from pathlib import Path

import pytest

from edgecl.cli import run_command_line
from edgecl.devices import doctor
from edgecl.devices.cgroup import memory_limit, processor_quota
from edgecl.devices.doctor import examine


def plant(root, files):
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


def states(findings):
    return {f.topic: f.state for f in findings}


# --- control groups


def test_version_2_takes_the_lowest_limit_on_the_way_to_the_root(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": "max",
                     "sys/fs/cgroup/a/memory.max": 300_000_000, "sys/fs/cgroup/a/b/cpu.max": "150000 100000",
                     "sys/fs/cgroup/a/cpu.max": "max 100000"})  # fmt: skip
    assert memory_limit(tmp_path)[0] == 300_000_000
    assert processor_quota(tmp_path)[0] == 1.5


def test_version_1_is_read_from_its_controllers(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/c\n0::/",
                     "sys/fs/cgroup/memory/m/memory.limit_in_bytes": 200_000_000,
                     "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
                     "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": 50_000, "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": 100_000,
                     "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1})  # fmt: skip
    assert memory_limit(tmp_path)[0] == 200_000_000
    assert processor_quota(tmp_path)[0] == 0.5


def test_inside_a_container_the_mount_itself_is_the_group(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/system.slice/docker-1.scope", "sys/fs/cgroup/memory.max": 64_000_000})
    assert memory_limit(tmp_path)[0] == 64_000_000


def test_without_limits_there_is_none(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"})
    assert memory_limit(tmp_path) is None and processor_quota(tmp_path) is None
    assert memory_limit(tmp_path / "nowhere") is None


# --- findings


MEMINFO = "MemTotal:  4000000 kB\nMemAvailable: 3000000 kB"


def test_memory_names_the_control_groups_cap_and_the_largest_budget(tmp_path):
    plant(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": 200_000_000})
    found = doctor.memory(tmp_path)
    assert states(found)["memory limit"] == "note"
    assert next(f for f in found if f.topic == "largest --ram").value == "180 MB"


def test_too_little_memory_is_a_problem(tmp_path):
    plant(tmp_path, {"proc/meminfo": "MemTotal: 400000 kB\nMemAvailable: 50000 kB"})
    assert states(doctor.memory(tmp_path))["largest --ram"] == "problem"


def test_a_quota_below_the_cores_is_a_problem(tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"})
    found = {f.topic: f for f in doctor.processors(tmp_path)}
    assert found["core quota"].state == "problem" and "--threads 1" in found["core quota"].remedy


def test_large_pages_are_noted():
    assert doctor.pages(4096)[0].state == "ok" and doctor.pages(16384)[0].state == "note"


def test_a_store_in_ram_is_a_problem(tmp_path):
    plant(tmp_path, {"proc/mounts": f"/dev/root / ext4 rw 0 0\ntmpfs {tmp_path.resolve()} tmpfs rw 0 0"})
    assert states(doctor.disk(tmp_path, tmp_path))["file system"] == "problem"
    plant(tmp_path, {"proc/mounts": "/dev/root / ext4 rw 0 0"})
    assert states(doctor.disk(tmp_path, tmp_path))["file system"] == "ok"


def test_wear_that_the_card_reports_is_shown(tmp_path):
    plant(tmp_path, {"sys/block/mmcblk0/device/life_time": "0x01 0x02"})
    assert any(f.value == "0x01 0x02" for f in doctor.disk(tmp_path, tmp_path))


def test_heat_near_the_trip_point_is_a_problem(tmp_path):
    zone = "sys/class/thermal/thermal_zone0"
    plant(tmp_path, {f"{zone}/type": "cpu-thermal", f"{zone}/temp": 60_000, f"{zone}/trip_point_0_type": "passive",
                     f"{zone}/trip_point_0_temp": 80_000})  # fmt: skip
    assert doctor.heat(tmp_path)[0].state == "ok"
    plant(tmp_path, {f"{zone}/temp": 77_000})
    assert doctor.heat(tmp_path)[0].state == "problem"


def test_under_voltage_names_the_power_supply(tmp_path, monkeypatch):
    program = plant(tmp_path, {"bin/vcgencmd": "#!/bin/sh\necho throttled=0x50000"}) / "bin/vcgencmd"
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (finding,) = doctor.throttled(tmp_path)
    assert finding.state == "problem" and "power supply" in finding.remedy


def test_a_clock_that_was_never_set_is_a_problem():
    assert doctor.clock(0.0)[0].state == "problem" and doctor.clock(1.8e9) == []


def test_kernels_and_what_the_processor_offers(tmp_path):
    plant(tmp_path, {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp"})
    found = {f.topic: f for f in doctor.kernels(tmp_path)}
    assert found["processor offers"].value == "asimd asimddp" and found["kernels"].state == "ok"


def test_every_problem_has_one_remedy_and_nothing_else_has_none_to_hide(tmp_path, monkeypatch):
    """A machine where much is wrong."""
    monkeypatch.setenv("PATH", "/nonexistent")
    zone = "sys/class/thermal/thermal_zone0"
    plant(tmp_path, {"proc/meminfo": "MemTotal: 90000 kB\nMemAvailable: 20000 kB", "proc/self/cgroup": "0::/",
                     "sys/fs/cgroup/cpu.max": "10000 100000", f"{zone}/type": "cpu", f"{zone}/temp": 99_000,
                     f"{zone}/trip_point_0_type": "critical", f"{zone}/trip_point_0_temp": 100_000,
                     "proc/mounts": f"tmpfs {tmp_path.resolve()} tmpfs rw 0 0"})  # fmt: skip
    answer = examine(tmp_path, tmp_path, quick=True)
    wrong = [f for f in answer["findings"] if f["state"] == "problem"]
    assert answer["problems"] == len(wrong) >= 4 and all(f["remedy"] for f in wrong)
    assert all(not f["remedy"] for f in answer["findings"] if f["state"] == "ok")


def test_an_empty_tree_of_sensors_is_no_failure(tmp_path):
    assert examine(Path("/"), tmp_path, quick=True)["schema"] == "edgecl.doctor/1"


@pytest.mark.parametrize("arguments", [["--quick"], []])
def test_the_command_prints_a_table_and_json(capsys, tmp_path, arguments):
    assert run_command_line(["doctor", "--disk", str(tmp_path), *arguments]) == 0
    text = capsys.readouterr().out
    assert "cores" in text and "problem" in text
    assert run_command_line(["doctor", "--disk", str(tmp_path), "--json", *arguments]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {f["topic"] for f in answer["findings"]} >= {"cores", "memory", "kernels", "page size"}
