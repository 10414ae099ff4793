"""The cost model: a roofline with a band that published measurements fall into."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.devices import CostModel, OperationCost, list_profiles, load_profile
from edgecl.errors import BadInput

SHIPPED = [n for n in list_profiles() if n != "host"]
RESNET18_FLOPS, RESNET18_WEIGHTS = 2 * 1.82e9, 47e6  # one 224 x 224 image

# seconds measured by others: ncnn inference (fp32 cores), eager PyTorch training (16 images, 3 passes)
PUBLISHED = [
    ("rpi_zero_2w", 1, 1, 0.6536), ("rpi_zero_2w", 4, 1, 0.3514),
    ("rpi_3b_plus", 1, 1, 0.3792), ("rpi_3b_plus", 4, 1, 0.2709),
    ("rpi_4b", 1, 1, 0.1908), ("rpi_4b", 4, 1, 0.1223), ("rpi_4b", 4, 48, 10.92), ("rpi_5", 4, 48, 5.84),
]  # fmt: skip


@pytest.mark.parametrize("device, threads, passes, measured", PUBLISHED)
def test_published_times_of_resnet18_fall_into_the_band(device, threads, passes, measured):
    cost = OperationCost("resnet18", RESNET18_FLOPS * passes, RESNET18_WEIGHTS)
    step = CostModel(load_profile(device), threads).step([cost])
    low, high = step.band
    assert low * step.seconds <= measured <= high * step.seconds


def test_compute_and_memory_each_bound_an_operation():
    p = load_profile("rpi_4b")
    model = CostModel(p, 4)
    assert model.operation_seconds(OperationCost("gemm", 1e9, 0)) == pytest.approx(1e9 / (57.6e9 * 0.45))
    assert model.operation_seconds(OperationCost("copy", 0, 5e9, "bandwidth")) == pytest.approx(1.0)
    # the larger of the two, not the sum
    assert model.operation_seconds(OperationCost("both", 1e9, 5e9)) == pytest.approx(1.0)


def test_a_step_is_the_sum_of_its_operations_and_joules_are_watts_times_seconds():
    p = load_profile("rpi_zero_2w")
    model = CostModel(p, 4)
    costs = [OperationCost("a", 3e8, 1e6), OperationCost("b", 0, 4e6, "bandwidth")]
    step = model.step(costs)
    assert step.seconds == pytest.approx(sum(model.operation_seconds(c) for c in costs))
    assert step.joules == pytest.approx(2.33 * step.seconds)
    assert step.bytes == 5e6 and step.label == "modelled(rpi_zero_2w)" and step.source == "modelled"


def test_one_busy_core_draws_the_one_core_power():
    step = CostModel(load_profile("rpi_zero_2w"), 1).step([OperationCost("a", 8e9, 0)])
    assert step.joules / step.seconds == pytest.approx(1.61)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(SHIPPED), st.floats(1e6, 1e12), st.floats(0.02, 0.3))
def test_sparse_work_costs_less_than_dense_but_more_than_its_share(device, flops, density):
    model = CostModel(load_profile(device), 2)
    dense = model.operation_seconds(OperationCost("d", flops, 0))
    sparse = model.operation_seconds(OperationCost("s", flops * density, 0, "sparse", density))
    assert density * dense < sparse < dense


def test_the_band_widens_with_the_share_of_sparse_work():
    model = CostModel(load_profile("rpi_4b"))
    dense = OperationCost("d", 1e9, 0)
    sparse = OperationCost("s", 1e9, 0, "sparse", 0.1)
    bands = [model.step(c).band for c in ([dense], [dense, sparse], [sparse])]
    assert bands[0][0] > bands[1][0] > bands[2][0]
    assert bands[0][1] < bands[1][1] < bands[2][1]
    for low, high in bands:
        assert low < 1 < high


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(SHIPPED), st.floats(0, 1e12), st.floats(0, 1e10), st.floats(1.01, 3))
def test_more_work_never_costs_less(device, flops, size, factor):
    model = CostModel(load_profile(device))
    for kind in ("dense", "sparse", "depthwise", "bandwidth"):
        small = model.step([OperationCost("x", flops, size, kind)])
        large = model.step([OperationCost("x", flops * factor, size * factor, kind)])
        assert large.seconds >= small.seconds and large.joules >= small.joules


def test_an_empty_step_costs_nothing():
    step = CostModel(load_profile("rpi_4b")).step([])
    assert (step.seconds, step.joules, step.bytes) == (0, 0, 0)


@pytest.mark.parametrize(
    "options",
    [{"kind": "spars"}, {"flops": -1}, {"bytes": float("nan")}, {"density": 0}, {"density": 1.5}],
)
def test_an_impossible_operation_is_refused(options):
    with pytest.raises(BadInput):
        OperationCost(**{"name": "x", "flops": 1, "bytes": 1, **options})
