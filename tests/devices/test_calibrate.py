"""The host profile: measured once, kept, and of the same schema as every other."""

import time

import pytest

from edgecl.devices import CostModel, OperationCost
from edgecl.devices.calibrate import Measurements, host_profile


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path))


def test_this_machine_is_measured_in_seconds_and_remembered():
    start = time.monotonic()
    first = host_profile()
    assert time.monotonic() - start < 15  # about 2.5 s on a quiet machine
    start = time.monotonic()
    assert host_profile() == first
    assert time.monotonic() - start < 0.5
    assert 1e8 < first.peak_flops(1) < 1e12
    assert 1e8 < first.bandwidth(1) < 1e12
    assert 15e6 < first.baseline_rss_bytes < 200e6
    marks = {first.clusters[0].flop_per_cycle.mark, first.bandwidth_by_threads[0][1].mark}
    assert marks == {"measured"}


def test_another_probe_takes_its_place_and_its_figures_are_used():
    asked = []

    def probe(cores):
        asked.append(cores)
        return Measurements("kernels", {1: 10e9, cores: 10e9 * cores * 0.9} if cores > 1 else {1: 10e9},
                            {1: 5e9}, 30_000_000, {0.1: 0.8, 1.0: 1.0})  # fmt: skip

    profile = host_profile(probe, "kernels-1")
    assert profile.peak_flops(1) == pytest.approx(10e9) and profile.sparse_efficiency(0.1) == pytest.approx(0.8)
    assert profile.baseline_rss_bytes == 30_000_000
    if profile.cores > 1:
        assert profile.gemm_efficiency(profile.cores) == pytest.approx(0.9)
    host_profile(probe, "kernels-1")
    assert len(asked) == 1
    host_profile(probe, "kernels-1", refresh=True)
    assert len(asked) == 2


def test_without_a_power_figure_energy_is_unknown_not_zero():
    profile = host_profile(lambda cores: Measurements("m", {1: 1e9}, {1: 1e9}, 30_000_000), "m")
    step = CostModel(profile).step([OperationCost("x", 1e9, 0)])
    assert step.seconds == pytest.approx(1.0) and step.joules is None


def test_a_cache_that_cannot_be_written_only_means_measuring_again(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "file"))
    profile = host_profile(lambda cores: Measurements("m", {1: 1e9}, {1: 1e9}, 30_000_000), "m")
    assert profile.name == "host"
