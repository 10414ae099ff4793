"""Parameters in canonical order: patterns, saved state, a wider head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import random_pattern, same_state, small_cnn, sparse_model

from edgecl.engine import Model
from edgecl.engine.gradients import FlatGradients
from edgecl.errors import BadInput
from edgecl.graph.builders import build

SPARSE = "conv2.weight"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, None]), min_size=1, max_size=4))
def test_any_sequence_of_patterns_equals_masking_a_dense_tensor(seed, densities):
    rng = np.random.default_rng(seed)
    p = sparse_model(small_cnn(), 0.4)[SPARSE]
    p.prepare_moments(("adam_m", "adam_v"))
    for m in p.moments.values():
        m[:] = rng.normal(size=p.living)
    full = {"values": p.dense().copy(), **{k: p.dense(m).copy() for k, m in p.moments.items()}}
    for density in densities:
        if density is None:
            pattern, mask = None, np.ones(p.spec.size, bool)
        else:
            pattern = random_pattern(p.spec.size, density, rng) if density else np.zeros(0, np.int32)
            mask = np.isin(np.arange(p.spec.size), pattern)
        p.set_pattern(pattern)
        full = {k: np.where(mask.reshape(v.shape), v, 0) for k, v in full.items()}
        assert np.array_equal(p.dense(), full["values"])
        assert all(np.array_equal(p.dense(m), full[k]) for k, m in p.moments.items())
        assert p.living == mask.sum() and p.gradient_subset is None


def test_initial_values_follow_the_fan_in_and_the_seed():
    graph = small_cnn()
    a, b, c = (Model(graph, np.random.default_rng(s)) for s in (0, 0, 1))
    assert same_state(a.state(), b.state()) and not same_state(a.state(), c.state())
    for p in a.parameters.values():
        if p.spec.role in ("weight", "bias"):
            assert np.abs(p.values).max() <= 1 / np.sqrt(p.spec.fan_in)
            assert p.living < 20 or np.abs(p.values).max() > 0.8 / np.sqrt(p.spec.fan_in)


def test_trained_count():
    p = sparse_model(small_cnn())[SPARSE]
    assert p.trained_count == p.living
    p.set_gradient_subset(np.arange(5))
    assert p.trained_count == 5
    p.frozen = True
    assert p.trained_count == 0


def test_a_wider_head_grows_rows_of_dense_and_sparse_tensors():
    graph, wide = (build("mlp", (4,), n, hidden=(6,)) for n in (3, 5))
    model = Model(graph, np.random.default_rng(0))
    p = model["logits.weight"]
    p.set_pattern(np.array([0, 7, 17], np.int32))
    p.prepare_moments(("momentum",))
    p.moments["momentum"][:] = 1
    p.set_gradient_subset(np.array([2]))
    old = p.values.copy()
    model.adopt(wide, np.random.default_rng(1))
    assert p.spec.shape == (5, 6) and model.graph is wide
    assert p.pattern.tolist() == [0, 7, 17, *range(18, 30)]
    assert np.array_equal(p.values[:3], old) and (p.values[3:] != 0).all()
    assert p.moments["momentum"].tolist() == [1] * 3 + [0] * 12
    assert p.gradient_subset.tolist() == [2]
    again = Model(graph, np.random.default_rng(0))
    again.adopt(wide, np.random.default_rng(1))
    assert np.array_equal(again["logits.bias"].values, model["logits.bias"].values)


@pytest.mark.parametrize("other", [build("mlp", (4,), 2, hidden=(6,)), build("mlp", (4,), 5, hidden=(7,)), small_cnn()])
def test_a_graph_that_is_not_a_wider_head_is_refused(other):
    model = Model(build("mlp", (4,), 3, hidden=(6,)), np.random.default_rng(0))
    before = model.state()
    with pytest.raises(BadInput):
        model.adopt(other, np.random.default_rng(1))
    assert same_state(before, model.state())


def test_the_saved_state_is_a_copy():
    model = sparse_model(small_cnn())
    state = model.state()
    kept = {k: v.copy() for k, v in state.items()}
    model[SPARSE].values += 1
    assert same_state(state, kept)
    model.load_state(state)
    model[SPARSE].values += 1
    assert same_state(state, kept)


def test_gradients_are_views_of_one_buffer():
    model = sparse_model(small_cnn())
    gradients = FlatGradients(model)
    gradients.flat[:] = np.arange(gradients.flat.size)
    assert gradients[SPARSE].base is gradients.flat
    gradients[SPARSE][0] = -1
    assert (gradients.flat == -1).sum() == 1
    assert "norm1.running_mean" in model.parameters
    with pytest.raises(KeyError):
        gradients["norm1.running_mean"]
