"""A simulated fleet goes on where it was killed, with the same figures; wrong orders are refused with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from edgecl.fleet.shares import shares

SMALL = [
    "--stream", "split-digits", "--network", "mlp", "--devices", "3", "--rounds", "5", "--steps", "8", "--tests", "30",
]  # fmt: skip
CLOCKS = ("seconds", "server_seconds")


def command(*words):
    return [sys.executable, "-P", "-m", "edgecl", "fleet", *words]


def rows(path):
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in json.loads(path.read_text())["rows"]]


def test_a_killed_simulation_goes_on_with_the_same_figures(tmp_path):
    whole = command("simulate", *SMALL, "--out", str(tmp_path / "whole"), "--json", str(tmp_path / "whole.json"))
    said = subprocess.run(whole, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "min of CPU" in said.splitlines()[0]  # the cost comes first
    killed = command("simulate", *SMALL, "--out", str(tmp_path / "killed"), "--json", str(tmp_path / "killed.json"))
    for device in ("edgecl-0/device-1", "fedavg_dense-0/device-2"):  # in the midst of a round
        process = subprocess.Popen(killed, cwd=tmp_path, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + 120
        while not (tmp_path / "killed" / device / "done.json").exists() and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.005)
        process.kill()
        process.wait()
    subprocess.run(killed, check=True, cwd=tmp_path, capture_output=True)
    found = rows(tmp_path / "killed.json")
    assert found == rows(tmp_path / "whole.json")
    assert [(r["who"], r["round"]) for r in found] == [
        (who, k) for who in ("edgecl", "fedavg_dense", "local_only") for k in range(1, 6)
    ]
    sent = {r["who"]: (r["bytes_up"], r["bytes_down"]) for r in found if r["round"] == 4}
    assert sent["local_only"] == (0, 0) and 0 < sent["edgecl"][0] < sent["fedavg_dense"][0] / 4
    assert [r["pattern_sent"] for r in found[:5]] == [True, False, False, False, False]


@pytest.mark.parametrize("words, cause", [
    (["--who", "nobody"], "who"), (["--devices", "0"], "devices"), (["--format", "f64"], "f64"),
    (["--mode", "own"], "own"), (["--share", "1.5"], "rules"), (["--alpha", "0"], "alpha"),
    (["--stream", "none"], "none"),
])  # fmt: skip
def test_wrong_orders_are_refused(words, cause, tmp_path):
    done = subprocess.run(command("simulate", *SMALL, *words), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and cause in done.stderr and "try:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_fleet_needs_a_new_folder_and_devices_that_agree(tmp_path):
    config = tmp_path / "edgecl.toml"
    common = '[learner]\ninput_shape = [1, 12, 12]\nnetwork = "cnn"\n'

    def new(name, text):
        config.write_text(common + text)
        order = command("new", name, "--config", str(config))
        return subprocess.run(order, cwd=tmp_path, capture_output=True, text=True)

    assert new("one", "").returncode == 0
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"README.md", "edgecl_app", "pyproject.toml", "state"}
    for name, text, cause in (("one", "", "not empty"), ("two", "sparsity = 0.9\n", "pattern"),
                              ("three", 'dtype = "float32"\n', "mean and std")):  # fmt: skip
        done = new(name, text)
        assert done.returncode == 2 and cause in done.stderr + done.stdout, done.stderr
    assert new("four", 'sparsity = 0.9\nsparsity_policy = "static"\n').returncode == 0


def test_every_sample_is_dealt_to_one_device_and_tests_are_of_its_classes():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 5, 1000), rng.integers(0, 5, 400)
    found = shares(train, test, 7, 0.3, 1000, rng)
    assert sorted(np.concatenate([np.concatenate([s.train, s.held]) for s in found]).tolist()) == list(range(1000))
    tested = np.concatenate([s.test for s in found])
    assert len(set(tested.tolist())) == tested.size > 350
    for share in found:
        assert set(test[share.test]) <= set(train[share.train]) | set(train[share.held])
    largest = [max(np.bincount(train[s.train], minlength=5), default=0) / max(1, len(s.train)) for s in found]
    assert np.mean(largest) > 0.4  # uneven: of five classes an even share is a fifth
