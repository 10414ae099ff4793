"""Every operator's numpy reference equals torch, forward and backward, and its gradients are gradients."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import cases

from edgecl.errors import BadInput, EdgeclError
from edgecl.graph import operator, operators
from edgecl.graph.ops._check import four_pads
from edgecl.graph.ops.dropout import draw_mask
from edgecl.graph.ops.norm import running_update
from edgecl.testing import check_operator

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

NAMES = sorted(set(operators()) - {"normalise"})
STEPS = (  # their gradient is taken for zero
    "floor_mod", "trunc_mod", "floor", "ceil", "round", "sign", "logical_not", "less", "less_equal", "greater",
    "greater_equal", "equal", "logical_and", "logical_or", "logical_xor", "argmax",
)  # fmt: skip
FEW = settings(deadline=None, max_examples=25)


def close(ours, theirs, tolerance=1e-9):
    assert ours.shape == tuple(theirs.shape)
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else theirs
    scale = max(1.0, np.abs(theirs).max(initial=0))
    assert np.abs(ours - theirs).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=13)  # each in training and in prediction
@given(st.data())
def test_reference_keeps_the_contract_and_equals_torch_and_central_differences(name, data):
    case = data.draw(cases(name))
    check_operator(case.entry, [case], engines=(), gradient=name not in STEPS)


@FEW
@given(cases("conv2d"))
def test_conv2d_equals_its_definition_written_as_loops(case):
    inputs, params = case.arrays(case.entry)
    y, _ = case.entry.forward(inputs, params, case.attributes, True)
    (sh, sw), (ph, pw, bottom, right) = case.attributes["stride"], four_pads(case.attributes["padding"])
    dh, dw = case.attributes.get("dilation", [1, 1])
    x = np.pad(inputs[0], ((0, 0), (0, 0), (ph, bottom), (pw, right)))
    weight = params["weight"]
    per_in, per_out = weight.shape[1], weight.shape[0] // case.attributes["groups"]
    rng = np.random.default_rng(case.seed)
    for _ in range(5):
        b, o, i, j = (int(rng.integers(n)) for n in y.shape)
        total = params["bias"][o] if "bias" in params else 0.0
        for c in range(per_in):
            for u in range(weight.shape[2]):
                for v in range(weight.shape[3]):
                    total += weight[o, c, u, v] * x[b, o // per_out * per_in + c, i * sh + u * dh, j * sw + v * dw]
        assert abs(total - y[b, o, i, j]) <= 1e-9 * max(1, abs(total))


@pytest.mark.parametrize("shape", [(2, 3, 4), (5,)])
@pytest.mark.parametrize("batch", [1, 6])
def test_batch_norm_statistics_follow_torch_also_for_one_element_per_channel(shape, batch):
    entry = operator("batch_norm")
    rng = np.random.default_rng(0)
    attributes = dict(entry.optional_attributes)
    x = rng.normal(3, 2, (batch, *shape))
    params = {k: rng.random(shape[0]) + 0.5 for k in ("scale", "shift", "running_mean", "running_var")}
    y, context = entry.forward([x], params, attributes, True)
    mean = running_update(params["running_mean"], context["mean"], attributes["momentum"])
    var = running_update(params["running_var"], context["var"], attributes["momentum"], context["count"])
    twins = {k: torch.tensor(v) for k, v in params.items()}
    close(y, entry.torch([torch.tensor(x)], twins, attributes, True))
    close(mean, twins["running_mean"])
    close(var, twins["running_var"])
    if context["count"] > 1:
        module = torch.nn.BatchNorm1d(shape[0]) if len(shape) == 1 else torch.nn.BatchNorm2d(shape[0])
        module = module.double()
        names = {
            "weight": "scale",
            "bias": "shift",
            "running_mean": "running_mean",
            "running_var": "running_var",
        }
        module.load_state_dict(
            {**{k: torch.tensor(params[v]) for k, v in names.items()}, "num_batches_tracked": torch.tensor(0)}
        )
        close(y, module(torch.tensor(x)))
        close(mean, module.running_mean)
        close(var, module.running_var)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_equals_torchs_own(groups):
    entry = operator("group_norm")
    rng = np.random.default_rng(0)
    x, scale, shift = rng.normal(size=(3, 6, 5, 4)), rng.normal(size=6), rng.normal(size=6)
    ours, _ = entry.forward([x], {"scale": scale, "shift": shift}, {"groups": groups, "eps": 1e-5}, True)
    theirs = torch.nn.functional.group_norm(torch.tensor(x), groups, torch.tensor(scale), torch.tensor(shift))
    close(ours, theirs)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalise_works_on_raw_values_and_pads_with_zeros_afterwards(dtype):
    entry = operator("normalise")
    attributes = {"mean": [100.0, 50.0], "std": [20.0, 10.0], "pad": 2}
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 5)).astype(dtype)
    y, _ = entry.forward([x], {}, attributes, True)
    assert y.dtype == np.float32
    assert y.shape[1:] == entry.shape([(2, 4, 5)], attributes) == (2, 8, 9)
    expected = (x - np.array([100, 50.0])[:, None, None]) / np.array([20, 10.0])[:, None, None]
    close(y[:, :, 2:-2, 2:-2], expected, 1e-6)
    assert not y[:, :, :2].any() and not y[:, :, -2:].any() and not y[..., :2].any() and not y[..., -2:].any()
    close(entry.torch([torch.from_numpy(x)], {}, attributes, True).numpy(), y, 1e-7)


def test_max_pool_sends_the_gradient_to_the_first_of_equal_values_as_torch_does():
    entry = operator("max_pool")
    attributes = {"kernel": [2, 2], "stride": [1, 1], "padding": [1, 1]}
    x = np.zeros((1, 1, 3, 3))
    _, context = entry.forward([x], {}, attributes, True)
    seed = np.arange(16.0).reshape(1, 1, 4, 4)
    twin = torch.zeros(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    entry.torch([twin], {}, attributes, True).backward(torch.tensor(seed))
    close(entry.backward(seed, context, {}, attributes)[0][0], twin.grad)


def test_dropout_keeps_the_expectation_and_is_the_identity_in_prediction():
    entry, p = operator("dropout"), 0.25
    x = np.ones((100, 1000), np.float32)
    keep = draw_mask(np.random.default_rng(0), x.shape, p)
    y, _ = entry.forward([x], {"keep": keep}, {"p": p}, True)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.01
    assert entry.forward([x], {}, {"p": p}, False)[0] is x


@pytest.mark.parametrize(
    "op, shapes, attributes",
    [
        ("conv2d", [(3, 4, 4)], {"out": 4, "kernel": [5, 5], "groups": 1}),
        ("conv2d", [(3, 4, 4)], {"out": 4, "kernel": [3, 3], "groups": 2}),
        ("conv2d", [(3,)], {"out": 4, "kernel": [1, 1], "groups": 1}),
        ("conv2d", [(3, 4, 4)], {"out": 4, "kernel": [3, 3], "stride": [0, 1]}),
        ("linear", [()], {"out": 4}),
        ("add", [(3, 4, 4), (3, 4, 5)], {}),
        ("add", [(3, 4, 4)], {}),
        ("max_pool", [(3, 4, 4)], {"kernel": [2, 2], "stride": [2, 2], "padding": [2, 2]}),
        ("avg_pool", [(3, 2, 2)], {"kernel": [3, 3], "stride": [1, 1]}),
        ("group_norm", [(3, 4, 4)], {"groups": 2}),
        ("global_avg_pool", [(3,)], {}),
        ("normalise", [(3, 4, 4)], {"mean": [0.0], "std": [1.0]}),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_operator_and_shapes(op, shapes, attributes):
    entry = operator(op)
    with pytest.raises(EdgeclError) as error:
        entry.shape(shapes, {**entry.optional_attributes, **attributes})
    assert op in error.value.cause
    assert all(str(s) in error.value.cause for s in shapes)
    assert error.value.remedy


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_an_unusable_deviation_is_refused(std):
    with pytest.raises(BadInput):
        operator("normalise").shape([(1, 4, 4)], {"mean": [0.0], "std": [std], "pad": 0})


def test_an_unknown_operator_is_refused_with_its_place():
    with pytest.raises(EdgeclError, match="'grid_sample' at 'layer7'"):
        operator("grid_sample", "layer7")


def test_the_worked_example_of_an_operator_is_the_code_of_today():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "models.md").read_text()
    example = page[page.index("In the tree an elementwise operator") : page.index("Then `pytest tests/graph")]
    places = ("edgecl/graph/ops", "edgecl/graph/importers", "edgecl/graph/exporters", "edgecl/compiler", "kernels")
    sources = [f for place in places for f in (root / place).rglob("*.*") if f.suffix in (".py", ".h", ".cpp")]
    touched = {str(f.relative_to(root)) for f in sources if "hardsigmoid" in f.read_text().replace("_", "").lower()}
    assert touched == set(re.findall(r"`((?:edgecl|kernels)/[\w/]+\.\w+)`", example))
    for line in example.splitlines():
        for file in re.findall(r"`((?:edgecl|kernels)/[\w/]+\.\w+)`", line):
            shown = [s for s in re.findall(r"`([^`]+)`", line) if "hard" in s.lower() or "c.alpha" in s]
            assert shown, line
            assert all("".join(s.split()) in "".join((root / file).read_text().split()) for s in shown), (file, shown)
