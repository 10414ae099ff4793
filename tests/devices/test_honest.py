"""What is predicted for boards is never kinder than their memory and their contention allow."""

import pytest

from edgecl.devices import CostModel, list_profiles, load_profile, operations
from edgecl.devices.overview import BATCH, DENSITY, DRAWS, tasks

SHIPPED = [name for name in list_profiles() if name != "host"]


def works():
    for task in tasks():
        graph = task.graph
        for density in (1.0, DENSITY):
            yield operations(graph, BATCH * (1 + DRAWS), "train", dict.fromkeys(graph.prunable(), density))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_step_is_faster_than_its_bytes(name):
    profile = load_profile(name)
    for work in works():
        moved = sum(o.read + o.written + o.weights for o in work if not o.absorbed)
        for threads in range(1, profile.cores + 1):
            cost = CostModel(profile, threads).step(work)
            least = moved / profile.bandwidth(threads)
            assert cost.seconds >= least * (1 - 1e-12)
            assert cost.seconds * cost.band[0] >= least * (1 - 1e-12)  # nor is the band's fast end


@pytest.mark.parametrize("name", SHIPPED)
def test_threads_gain_no_more_than_was_measured_on_the_board(name):
    profile = load_profile(name)
    for work in works():
        alone = CostModel(profile, 1).step(work).seconds
        for threads in range(2, profile.cores + 1):
            efficiency = profile.gemm_efficiency(threads) / profile.gemm_efficiency(1)
            compute = profile.peak_flops(threads) / profile.peak_flops(1) * min(1.0, efficiency)
            memory = profile.bandwidth(threads) / profile.bandwidth(1)
            gain = alone / CostModel(profile, threads).step(work).seconds
            assert gain <= max(compute, memory) * (1 + 1e-9)
            assert profile.scaling(threads) == pytest.approx(max(compute, memory))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_profile_assumes_how_threads_scale(name):
    profile = load_profile(name)
    assert profile.parallel_by_threads == ()
    assert profile.parallel(profile.cores) == profile.contention(profile.cores) <= 1
