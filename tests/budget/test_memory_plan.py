"""A run stays within the memory its plan names: peaks read from outside, through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

MB = 1_000_000


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> str:
    """Ten classes of 28x28 grey images, as split-fashion has them, but few."""
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(10), 60)
    x = np.clip(rng.integers(40, 200, (10, 28, 28))[y] + rng.normal(0, 20, (y.size, 28, 28)), 0, 255)
    path = tmp_path_factory.mktemp("stream") / "grey.npz"
    np.savez(path, x=x.astype(np.uint8), y=y)
    return str(path)


@pytest.fixture(scope="module")
def peak_of(tmp_path_factory):
    """peak_of(*options) -> (record, highest VmHWM that a watcher saw) of one `edgecl run`."""
    environment = {**os.environ, "EDGECL_CACHE": str(tmp_path_factory.mktemp("cache"))}

    def call(*options: object) -> tuple[dict, int]:
        folder = tmp_path_factory.mktemp("run")
        command = [sys.executable, "-m", "edgecl", "run", "--json", *map(str, options)]
        with open(folder / "record.json", "w+") as out, open(folder / "errors", "w+") as errors:
            child = subprocess.Popen(command, stdout=out, stderr=errors, cwd=folder, env=environment)
            peak = 0
            while child.poll() is None:
                peak = max(peak, high_water_mark(child.pid))
                time.sleep(0.01)
            errors.seek(0)
            assert child.returncode == 0, errors.read()
            out.seek(0)
            return json.load(out), peak

    return call


def high_water_mark(pid: int) -> int:
    """VmHWM in bytes; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


CASES = {
    "resnet20 with a store": ("resnet20", 8, True),
    "cnn": ("cnn", 16, False),
    "resnet18": ("resnet18", 8, False),
}


@pytest.mark.parametrize("case", CASES)
def test_planned_growth_is_the_measured_one(case, stream, peak_of, tmp_path):
    model, batch, stored = CASES[case]
    options = ["--stream", stream, "--model", model, "--batch", batch, "--sparsity", 0.9, "--epochs", 2]
    options += ["--memory", 200, "--limit-train", 200 if model == "resnet18" else 480, "--lr", 0.01]
    record, peak = peak_of(*options, *(("--store", tmp_path / "store") if stored else ()))
    assert record["status"]["finished"]  # a run that ends early has not taken everything
    memory = record["memory"]
    # The watcher may miss the last moments, the process cannot: both look at the same mark.
    assert 0.97 * memory["measured_peak_rss_bytes"] <= peak
    measured = max(peak, memory["measured_peak_rss_bytes"]) - memory["baseline_bytes"]
    planned = memory["planned_peak_rss_bytes"] - memory["baseline_bytes"]
    assert abs(planned - measured) <= 0.05 * measured + MB, record["plan"]["growth_bytes"]
    if stored:
        assert peak <= 80 * MB
