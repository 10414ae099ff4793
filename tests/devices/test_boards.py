"""A calibration begins with what is known of the board, takes half of the RAM, and is over in minutes."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edgecl.devices import list_profiles, load_profile
from edgecl.devices.boards import BOARDS, board_model, board_profile, shipped_tables
from edgecl.devices.calibrate import Measurements, figure, profile_tables
from edgecl.devices.calibration.effort import OWN_BYTES, Case, cases, chosen, engine_bytes, predicted
from edgecl.devices.calibration.heat import add_heat, heated
from edgecl.devices.calibration.networks import NETWORKS
from edgecl.devices.calibration.start import keep_what_is_known
from edgecl.devices.schema import parse_profile

GRAPHS = {name: make() for name, make in NETWORKS.items()}
FOUND = Measurements("m", {1: 6e9, 4: 2e10}, {1: 2e9, 4: 2.2e9}, 40_000_000)


@pytest.mark.parametrize(
    ("model", "name"),
    [("Raspberry Pi Zero 2 W Rev 1.0", "rpi_zero_2w"), ("Raspberry Pi 4 Model B Rev 1.4", "rpi_4b"),
     ("Raspberry Pi 3 Model B Plus Rev 1.3", "rpi_3b_plus"), ("Raspberry Pi 5 Model B Rev 1.0", "rpi_5"),
     ("NVIDIA Jetson Nano Developer Kit", "jetson_nano"), ("Raspberry Pi Model B Rev 2", None), ("", None)],
)  # fmt: skip
def test_a_board_is_known_by_its_device_tree(model, name, tmp_path):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(model.encode() + b"\0")
    assert board_model(tmp_path) == (model or None)
    assert board_profile(board_model(tmp_path)) == name


def test_every_board_that_is_known_has_a_profile():
    assert set(BOARDS.values()) <= set(list_profiles())
    assert board_model(Path("/nonexistent")) is None and board_profile(None) is None


@pytest.mark.parametrize("model", ["Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi 5 Model B Rev 1.0"])
def test_what_is_not_measured_stays_as_it_was_known(model):
    data = profile_tables(FOUND, 4)
    data["flash"] = {"read_bytes_per_s": figure(9e7, "measured", "here", "B/s")}
    name = keep_what_is_known(data, model)
    known, now = load_profile(name), parse_profile(data, "host")
    for section in ("power", "thermal"):
        assert now.figures[section] == known.figures[section] and now.figures[section]
    assert now.figures["flash"]["read_bytes_per_s"].value == 9e7
    for kept in ("endurance_cycles", "write_amplification", "capacity_bytes"):
        assert now.figures["flash"][kept] == known.figures["flash"][kept]
    assert now.bandwidth(1) == 2e9 and now.peak_flops(1) == pytest.approx(6e9, rel=1e-3)  # measured stays measured
    assert now.power(4) == known.power(4)
    assert known.title in now.title and now.clusters[0].core == known.clusters[0].core


def test_an_unknown_board_keeps_nothing():
    data = profile_tables(FOUND, 4)
    before = json.dumps(data)
    assert keep_what_is_known(data, "Some other board") is None and json.dumps(data) == before


def test_a_calibration_of_a_zero_2_w_ends_in_five_minutes_and_takes_half_of_its_ram():
    zero = load_profile("rpi_zero_2w")
    ram = zero.memory_bytes // 2 - zero.baseline_rss_bytes
    found, passes, _ = chosen(GRAPHS, zero.cores, zero, ram)
    probe = 0.4 * 2 * zero.cores + 0.4 * 10 + 5  # rates by threads, copies by size, imports
    disk, fits, power = 64e6 / 18e6 + 64e6 / 22e6 + 3, 25, 9
    assert predicted(found, passes, GRAPHS, zero) + probe + disk + fits + power < 300
    assert {c.network for c in found} == set(GRAPHS)  # every class of layers
    assert {c.threads for c in found} == {1, zero.cores}
    assert all(engine_bytes(GRAPHS[c.network], c) + OWN_BYTES <= ram for c in found)


def test_a_quick_machine_times_everything_twice():
    fast = parse_profile(profile_tables(Measurements("m", {1: 1e11, 4: 4e11}, {1: 2e10, 4: 4e10}, 1), 4), "host")
    found, passes, said = chosen(GRAPHS, 4, fast, 2 << 30)
    assert len(found) == len(GRAPHS) * len(cases(4)) and passes == 2 and said == []


def test_little_ram_means_fewer_rows_and_says_what_is_left_out():
    zero = load_profile("rpi_zero_2w")
    found, _, said = chosen(GRAPHS, 4, zero, OWN_BYTES + 6_000_000)
    assert found and all(engine_bytes(GRAPHS[c.network], c) <= 6_000_000 for c in found)
    assert any("half of the RAM" in text for text in said)
    assert Case("residual 72", 32, 1.0, 1) not in found


def test_heat_is_read_from_the_rates():
    now = [0.0]

    def step():  # 10 ms, 20 % slower after the first minute
        now[0] += 0.01 if now[0] < 60 else 0.0125

    rates = heated(step, 600.0, lambda: now[0])
    data = {"thermal": {"throttle_c": figure(80, "vendor", "v", "C")}}
    add_heat(data, rates)
    assert data["thermal"]["sustained"]["value"] == pytest.approx(0.8, rel=0.02)
    assert data["thermal"]["time_constant_s"]["value"] == pytest.approx(62.5, abs=5)
    assert data["thermal"]["sustained"]["mark"] == "measured" and data["thermal"]["throttle_c"]["value"] == 80


def test_a_machine_with_a_fan_keeps_its_speed():
    now = [0.0]

    def step():
        now[0] += 0.01

    data = {"thermal": shipped_tables("rpi_zero_2w")["thermal"]}
    add_heat(data, heated(step, 100.0, lambda: now[0]))
    assert data["thermal"]["sustained"]["value"] > 0.98 and "time_constant_s" not in data["thermal"]


def command(*words, root, cache, limit=None):
    env = {**os.environ, "EDGECL_CACHE": str(cache), "EDGECL_SENSORS_ROOT": str(root)}

    def cap():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgecl", "devices", *words],
        capture_output=True, text=True, env=env, cwd=cache, preexec_fn=cap, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def zero_root(tmp_path):
    (tmp_path / "root/proc/device-tree").mkdir(parents=True)
    (tmp_path / "root/proc/device-tree/model").write_bytes(b"Raspberry Pi Zero 2 W Rev 1.0\0")
    return tmp_path / "root"


def test_a_report_for_others_names_the_board_and_nobody(zero_root, tmp_path):
    said = command("report", "--out", "mine.json", root=zero_root, cache=tmp_path)
    text = (tmp_path / "mine.json").read_text()
    found = json.loads(text)
    assert found["board"] == "Raspberry Pi Zero 2 W Rev 1.0" and found["shipped_profile"] == "rpi_zero_2w"
    assert found["calibrated"] is False and "calibrate" in said
    assert str(Path.home()) not in text and str(tmp_path) not in text and os.uname().nodename not in text
    parsed = found["profile"]
    assert parsed["bandwidth_by_threads"] and parsed["kernels"]


@pytest.mark.campaign
def test_a_calibration_completes_under_512_mb_and_keeps_what_it_did_not_measure(zero_root, tmp_path):
    command("calibrate", "--out", "here.toml", root=zero_root, cache=tmp_path, limit=512 << 20)
    found, known = load_profile(tmp_path / "here.toml"), load_profile("rpi_zero_2w")
    for section in ("power", "thermal"):
        assert found.figures[section] == known.figures[section]
    assert found.figures["flash"]["endurance_cycles"] == known.figures["flash"]["endurance_cycles"]
    assert found.figures["flash"]["read_bytes_per_s"].mark == "measured"
    assert all(r.mark == "measured" for r in found.kernels.values())
    assert [t for t, _ in found.parallel_by_threads] == list(range(1, found.cores + 1))
