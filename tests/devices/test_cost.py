"""The cost model: operations add up, ceilings bound, bands are honest about what was measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.devices import EAGER_TORCH, CostModel, list_profiles, load_profile, operations, warmed
from edgecl.devices.calibrate import Measurements, profile_tables
from edgecl.devices.cost import padding, vectors
from edgecl.devices.kernel_rates import CLASSES, classify
from edgecl.devices.schema import parse_profile
from edgecl.devices.workload import Operation
from edgecl.errors import BadInput
from edgecl.graph.builders import build

SHIPPED = [n for n in list_profiles() if n != "host"]
RESNET = build("resnet20", (3, 32, 32), 10)
CONV = Operation("c", "conv", "forward", 1e8, 0, 0, 0, 1.0, 576, 64, 256, 9, rows=32)


def step(device, threads=1, rows=32, density=1.0, keep=1.0, family=None, hot=False):
    densities = dict.fromkeys(RESNET.prunable(), density)
    work = operations(RESNET, rows, "train", densities, keep)
    return CostModel(load_profile(device), threads, family, hot).step(work)


def test_flops_are_those_of_the_graph():
    work = operations(RESNET, 2)
    macs = sum(o.macs for o in work if o.phase == "forward")
    assert macs == 2 * 40_813_184  # by hand: 16, 32 and 64 channels on 32, 16 and 8 pixels, projections, head
    stem = sum(o.macs for o in work if o.phase == "forward" and o.name == "stem")
    assert sum(o.macs for o in work) == 3 * macs - stem  # the first layer has no gradient of its input


def test_keep_and_density_scale_the_weight_gradient_and_everything():
    dense, sparse, kept = (operations(RESNET, 4, "train", dict.fromkeys(RESNET.prunable(), d), k)
                           for d, k in ((1.0, 1.0), (0.1, 1.0), (0.1, 0.5)))  # fmt: skip
    pick = lambda work, phase: sum(o.macs for o in work if o.name == "s2b2_conv1" and o.phase == phase)  # noqa: E731
    assert pick(sparse, "forward") == pytest.approx(0.1 * pick(dense, "forward"), rel=1e-3)
    assert pick(kept, "weight") == pytest.approx(0.5 * pick(sparse, "weight"), rel=1e-3)
    assert pick(kept, "input") == pick(sparse, "input")


def test_training_the_head_only_has_no_backward_pass_below_it():
    work = operations(RESNET, 4, "head")
    assert {o.name for o in work if o.phase != "forward"} == {"logits"}
    assert {o.phase for o in operations(RESNET, 4, "inference")} == {"forward"}


def test_compute_and_memory_both_cost():
    p = load_profile("rpi_4b")
    model = CostModel(p, 4)
    rates = p.kernels["conv", "forward"]
    full = model.operation_seconds(CONV)
    eff = rates.efficiency[-1][3]  # density 1, 256 positions
    start = rates.start[1]
    assert full == pytest.approx(2e8 / (p.peak_flops(4) * p.parallel(4) * eff) + start)
    moved = Operation(**{**CONV.__dict__, "read": 4e6, "written": 1e6})
    assert model.operation_seconds(moved) - full == pytest.approx(rates.traffic * 5e6 / p.bandwidth(4))


def test_a_step_is_the_sum_of_its_operations_and_joules_are_watts_times_seconds():
    found = step("rpi_zero_2w", 4)
    assert found.joules == pytest.approx(2.33 * found.seconds)
    assert found.label == "modelled(rpi_zero_2w)" and found.source == "modelled"
    one = step("rpi_zero_2w", 1)
    assert one.joules / one.seconds == pytest.approx(1.61)
    assert CostModel(load_profile("rpi_4b")).step([]).seconds == 0


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SHIPPED), st.sampled_from([4, 8, 32, 33]), st.floats(0.02, 0.3))
def test_sparse_steps_cost_less_than_dense_but_more_than_their_share(device, rows, density):
    dense, sparse = step(device, 2, rows), step(device, 2, rows, density)
    assert density * dense.seconds < sparse.seconds < dense.seconds


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SHIPPED), st.integers(1, 64), st.integers(1, 64))
def test_more_samples_never_cost_less(device, rows, more):
    assert step(device, 1, rows + more).seconds >= step(device, 1, rows).seconds
    assert step(device, 1, rows + more, family=EAGER_TORCH).seconds >= step(device, 1, rows, family=EAGER_TORCH).seconds


def test_a_batch_is_paid_in_whole_vectors():
    assert padding(32, 16) == 1 and padding(5, 4) == 8 / 5 and padding(9, 16) == 16 / 9
    assert 1 < padding(8, 16) < padding(2, 16) < padding(1, 16) < 4  # narrower vectors are less well used
    assert vectors(32, 16) == 1 and vectors(8, 16) == 2 and vectors(1, 4) == 4


def test_a_hot_phone_is_slower_by_what_it_sustains():
    phone = load_profile("pixel_8")
    share = phone.figure("thermal", "sustained").value
    assert step("pixel_8", 4, hot=True).seconds == pytest.approx(step("pixel_8", 4).seconds / share)


@settings(deadline=None)
@given(device=st.sampled_from(["pixel_8", "rpi_4b", "low_phone"]), seconds=st.floats(1e-3, 1e6))
def test_a_long_run_slows_towards_the_sustained_speed_and_does_all_the_work(device, seconds):
    p = load_profile(device)
    share, tau = (p.figure("thermal", n).value for n in ("sustained", "time_constant_s"))
    taken = warmed(p, seconds)
    assert seconds <= taken * (1 + 1e-12) and taken <= seconds / share
    times = np.linspace(0, taken, 20001)
    speed = share + (1 - share) * np.exp(-times / tau)
    assert np.sum((speed[1:] + speed[:-1]) / 2) * times[1] == pytest.approx(seconds, rel=1e-3)
    assert warmed(p, 2 * seconds) >= 2 * taken - 1e-9  # the second half is not the faster one


def test_a_device_with_a_fan_does_not_slow():
    assert warmed(load_profile("jetson_orin_nano"), 1e5) == 1e5


def test_every_operation_of_every_network_has_a_class():
    known = {*CLASSES, ("update", "all"), ("feed", "all")}
    shapes = {"cnn": (1, 28, 28), "cnn1d": (6, 1, 128), "mlp": (1, 28, 28), "mobilenetv2": (3, 32, 32)}
    for name, shape in shapes.items():
        assert {classify(o) for o in operations(build(name, shape, 10), 4)} <= known


def test_a_carried_over_step_has_a_wider_band_than_a_published_family():
    ours, torch = step("rpi_4b", 4), step("rpi_4b", 4, family=EAGER_TORCH)
    assert ours.band[0] < 1 < ours.band[1] and torch.band[0] < 1 < torch.band[1]
    assert ours.band[1] / ours.band[0] > torch.band[1] / torch.band[0]
    assert ours.joules_band[1] > ours.band[1]


def test_an_unknown_mode_is_refused():
    with pytest.raises(BadInput, match="modus"):
        operations(RESNET, 1, "modus")


def test_normalisations_that_fused_convolutions_take_along_cost_nothing_of_their_own():
    graph = build("mobilenetv2", (3, 32, 32), 10, input_dtype="float32")
    work = operations(graph, 8, "train")
    model = CostModel(load_profile("rpi_4b"))
    inside = [o for o in work if o.absorbed]
    assert inside and all(model.operation_seconds(o) == 0 for o in inside)
    assert {o.kind for o in inside} == {"norm", "activation"}
    plain = build("resnet20", (3, 32, 32), 10, input_dtype="float32")
    assert not any(o.absorbed for o in operations(plain, 8, "train"))


def test_threads_have_caches_to_themselves_and_share_main_memory():
    found = Measurements("m", {1: 1e10, 2: 2e10}, {1: 1e10, 2: 1.2e10}, 1, {2**18: 8e10, 2**26: 1e10})
    host = parse_profile(profile_tables(found, 2), "host")
    assert host.bandwidth(2, 2**18) == pytest.approx(2 * host.bandwidth(1, 2**17))
    assert host.bandwidth(2, 2**30) == pytest.approx(1.2e10)
    assert host.bandwidth(1, 2**18) == pytest.approx(8e10)
