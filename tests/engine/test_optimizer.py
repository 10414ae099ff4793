"""The optimizer reference equals torch.optim, and touches only what it may."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.compiler import Optimizer
from edgecl.engine.model import Parameter
from edgecl.engine.optimizer import check_optimizer, update
from edgecl.errors import BadInput
from edgecl.graph import ParameterSpec

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def parameter(n, optimizer, rng):
    p = Parameter(ParameterSpec("w", (n,), "weight", "zeros"), rng.normal(size=n).astype(np.float32))
    p.prepare_moments(optimizer.moments())
    return p


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["sgd", "adam"]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.sampled_from([1e-3, 0.1]),
    st.integers(0, 2**32 - 1),
)
def test_twenty_steps_equal_torch_optim(kind, momentum, decay, lr, seed):
    rng = np.random.default_rng(seed)
    optimizer = Optimizer(kind, momentum=momentum, weight_decay=decay)
    p = parameter(9, optimizer, rng)
    twin = torch.nn.Parameter(torch.tensor(p.values.copy()))
    if kind == "sgd":
        theirs = torch.optim.SGD([twin], lr=lr, momentum=momentum, weight_decay=decay)
    else:
        theirs = torch.optim.Adam([twin], lr=lr, weight_decay=decay)
    for _ in range(20):
        g = rng.normal(size=9).astype(np.float32)
        twin.grad = torch.tensor(g)
        theirs.step()
        update(p, g, optimizer, lr)
    assert np.allclose(p.values, twin.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_only_the_gradient_subset_moves(kind):
    rng = np.random.default_rng(0)
    optimizer = Optimizer(kind, momentum=0.9, weight_decay=0.1)
    p = parameter(8, optimizer, rng)
    update(p, rng.normal(size=8), optimizer, 0.1)
    p.set_gradient_subset(np.array([1, 4]))
    before = [p.values.copy(), *(m.copy() for m in p.moments.values())]
    gradient = rng.normal(size=8).astype(np.float32)
    kept = gradient.copy()
    update(p, gradient, optimizer, 0.1)
    for old, new in zip(before, [p.values, *p.moments.values()]):
        assert np.array_equal(np.flatnonzero(old != new), [1, 4])
    assert np.array_equal(gradient, kept)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_frozen_parameter_and_a_statistic_do_not_move(kind):
    optimizer = Optimizer(kind, momentum=0.9, weight_decay=0.1)
    for frozen, role in ((True, "weight"), (False, "statistic")):
        p = Parameter(ParameterSpec("w", (3,), role, "zeros"), np.ones(3, np.float32), frozen=frozen)
        p.prepare_moments(optimizer.moments())
        update(p, np.ones(3, np.float32), optimizer, 0.1)
        assert (p.values == 1).all() and p.step_count == 0
        assert not any(m.any() for m in p.moments.values())


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(BadInput, match="adagrad"):
        check_optimizer(Optimizer("adagrad"))
