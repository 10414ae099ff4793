"""Sharing a density among tensors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.errors import BadInput
from edgecl.graph import ParameterSpec
from edgecl.sparsity import allocate, make_sparse_training


def spec(name, *shape):
    return ParameterSpec(name, shape, "weight", "kaiming_uniform", 1, True)


SPECS = [spec("a", 16, 3, 3, 3), spec("b", 64, 16, 3, 3), spec("c", 64, 64, 3, 3), spec("d", 10, 64)]


@settings(max_examples=40, deadline=None)
@given(density=st.floats(0.01, 1.0))
def test_erk_meets_the_global_budget_and_caps_at_dense(density):
    d = allocate("erk", SPECS, density)
    total = sum(s.size for s in SPECS)
    assert sum(d[s.name] * s.size for s in SPECS) == pytest.approx(density * total)
    assert all(0 < v <= 1 for v in d.values())


def test_erk_is_proportional_to_the_sum_over_the_product_of_dimensions():
    d = allocate("erk", SPECS[1:3], 0.1)
    raw = [(64 + 16 + 6) / (64 * 16 * 9), (64 + 64 + 6) / (64 * 64 * 9)]
    assert d["b"] / d["c"] == pytest.approx(raw[0] / raw[1])


def test_uniform_gives_each_tensor_the_same():
    assert set(allocate("uniform", SPECS, 0.25).values()) == {0.25}


def test_unknown_allocation_is_refused():
    with pytest.raises(BadInput, match="Did you mean 'uniform'"):
        allocate("unifrom", SPECS, 0.5)


@pytest.mark.parametrize(
    "choice",
    [
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"sparsity": float("nan")},
        {"gradient_keep": 0.0},
        {"gradient_keep": 1.5},
        {"gradient_keep": float("nan")},
        {"sparsity": 0.5, "mask": "none"},
        {"sparsity": 0.5, "mask": "tmd"},
        {"sparsity": 0.5, "form": "papr"},
        {"sparsity": 0.5, "names": ["fc9.weight"]},
        {"sparsity": 0.5, "delta": 0.0},
        {"sparsity": 0.99999},
    ],
)
def test_a_choice_out_of_range_is_refused(net, choice):
    with pytest.raises(BadInput):
        make_sparse_training(net, **choice)
