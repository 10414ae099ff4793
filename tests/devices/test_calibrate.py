"""The host profile: measured once, kept, and of the same schema as every other."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import reference_rates

from edgecl.devices import CostModel, Operation, load_profile, operations
from edgecl.devices.calibrate import Measurements, host_profile, keep_calibrated, profile_tables
from edgecl.devices.calibration.flash import measure_flash
from edgecl.devices.calibration.machine import add_band, add_kernels, measured_over_predicted, raise_peak
from edgecl.devices.calibration.networks import NETWORKS
from edgecl.devices.calibration.steps import time_step
from edgecl.devices.calibration.toml import to_toml
from edgecl.devices.cost import working_set
from edgecl.devices.kernel_rates import CLASSES, classify
from edgecl.devices.schema import parse_profile


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
                            {1: 5e9}, 30_000_000, {2**20: 50e9, 2**27: 5e9})  # fmt: skip

    profile = host_profile(probe, "kernels-1")
    assert profile.peak_flops(1) == pytest.approx(10e9, rel=1e-3)
    assert profile.bandwidth(1, 2**20) == pytest.approx(50e9) and profile.bandwidth(1, 2**30) == pytest.approx(5e9)
    assert profile.baseline_rss_bytes == 30_000_000
    if profile.cores > 1:
        assert profile.gemm_efficiency(profile.cores) == pytest.approx(0.9, rel=1e-3)
    host_profile(probe, "kernels-1")
    assert len(asked) == 1
    host_profile(probe, "kernels-1", refresh=True)
    assert len(asked) == 2


def test_without_a_power_figure_energy_is_unknown_not_zero():
    profile = host_profile(lambda cores: Measurements("m", {1: 1e9}, {1: 1e9}, 30_000_000), "m")
    step = CostModel(profile).step([Operation("x", "conv", "forward", 1e9, 0, 0)])
    assert step.seconds > 0 and step.joules is None


def test_a_cache_that_cannot_be_written_only_means_measuring_again(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "file"))
    profile = host_profile(lambda cores: Measurements("m", {1: 1e9}, {1: 1e9}, 30_000_000), "m")
    assert profile.name == "host"


@pytest.fixture(scope="module")
def timed():
    """A short set of timed steps that has every class of kernel."""
    names = ("residual 24", "pooled 24", "signal 24", "inverted 24 small", "layers 300")
    cases = ((8, 1.0, 1), (8, 0.1, 1), (8, 0.1, 2))
    graphs = {n: NETWORKS[n]() for n in names}
    return [time_step(graphs[n], *case, seconds=0, rounds=1) for n in names for case in cases]


MEASURED = Measurements("m", {1: 1e11, 2: 2e11}, {1: 2e10, 2: 3e10}, 30_000_000)


def test_a_timed_step_accounts_for_its_time(timed):
    for s in timed:
        assert s.seconds > 0 and s.maps > 0 and min(s.weights.values()) > 0
        weighted = {n.name for n in s.graph.nodes if n.op in ("conv2d", "linear")}
        assert {node for node, _ in s.weights} == weighted
        assert {phase for _, phase in s.weights} == {"forward", "input", "weight"}


def made_by(truth, timed):
    """The timed steps' configurations with the times that the profile ``truth`` gives them."""
    made = []
    for s in timed:
        model = CostModel(truth, s.threads)
        work = operations(s.graph, s.batch, "train", s.densities)
        by = {(o.name, o.phase): model.operation_seconds(o, working_set(work)) for o in work}
        kinds = {(o.name, o.phase): classify(o)[0] for o in work}
        maps, pools = (sum(t for k, t in by.items() if kinds[k] == kind) for kind in ("maps", "pool"))
        whole = model.step(work).seconds
        made.append(dataclasses.replace(s, weights={k: by[k] for k in s.weights}, maps=maps, pools=pools,
                                        seconds=whole))  # fmt: skip
    return made


def test_a_calibration_becomes_a_profile_that_predicts_what_it_was_made_from(timed, tmp_path):
    truth = parse_profile(profile_tables(MEASURED, 2), "host")
    steps = made_by(truth, timed)
    data = profile_tables(MEASURED, 2)
    add_kernels(data, steps, truth)
    add_band(data, measured_over_predicted(steps, parse_profile(data, "host")))
    (tmp_path / "my.toml").write_text(to_toml(data, "a test"))
    profile = load_profile(tmp_path / "my.toml")
    assert set(profile.kernels) == set(CLASSES)
    assert all(r.mark == "measured" for r in profile.kernels.values())
    for s in steps:
        cost = CostModel(profile, s.threads).step(operations(s.graph, s.batch, "train", s.densities))
        assert cost.seconds == pytest.approx(s.seconds, rel=0.2)
        assert 0.7 < cost.band[0] <= 0.9 and 1.1 <= cost.band[1] < 1.4
    keep_calibrated(data)
    assert host_profile(lambda cores: pytest.fail("measured again")) == parse_profile(data, "host")
    shipped = json.loads(reference_rates.to_text(reference_rates.reference(profile, "a made-up machine")))
    checked = {(r["kind"], r["phase"]): r for r in shipped["rates"]}
    assert checked.keys() == profile.kernels.keys()
    best = max(v for row in checked["conv", "weight"]["efficiency"] for v in row)
    assert shipped["weight_loop"]["value"] == pytest.approx(best, rel=1e-3)
    assert all(r["source"].endswith("on a made-up machine") for r in shipped["rates"])


def test_the_shipped_rates_have_the_form_that_the_bench_writes():
    text = reference_rates.TARGET.read_text()
    assert reference_rates.to_text(json.loads(text)) == text


def test_rates_that_were_not_measured_are_no_reference():
    with pytest.raises(SystemExit, match="not measured"):
        reference_rates.reference(load_profile("rpi_4b"), "x")


def test_the_peak_is_never_below_our_fastest_kernel():
    data = profile_tables(MEASURED, 2)
    raise_peak(data, 5e10, MEASURED.flops)
    assert parse_profile(data, "host").peak_flops(1) == pytest.approx(1e11, rel=1e-3)
    raise_peak(data, 2e11, MEASURED.flops)
    profile = parse_profile(data, "host")
    assert profile.peak_flops(1) == pytest.approx(2e11, rel=1e-3)
    assert profile.gemm_efficiency(2) == pytest.approx(0.5)


def test_the_disk_is_measured_and_left_clean(tmp_path):
    found = measure_flash(tmp_path, megabytes=2, seconds=0.05)
    assert all(v > 0 for v in found.values())
    assert found["fsync_seconds"] < 10
    assert list(tmp_path.iterdir()) == []
