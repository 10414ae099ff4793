"""Arrays per weight: aligned with the gradients, carried by every change of pattern as a moment is."""

import numpy as np
import pytest
from engine_kinds import ENGINES, make_engine, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import data, pass_through, random_pattern, same_state, small_cnn, sparse_model, train

from edgecl.compiler import Optimizer
from edgecl.engine import Model
from edgecl.errors import BadInput
from edgecl.graph.builders import build
from edgecl.learning.head import grow_parameters

SPARSE = "conv2.weight"
KINDS = ("fisher", "anchor")


def filled(engine_factory, **choices):
    """A trained engine whose arrays hold distinct numbers."""
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph, 0.5), Optimizer(momentum=0.9), per_weight=KINDS, **choices)
    train(engine, *data(graph, 8))
    for i, kind in enumerate(KINDS):
        flat = engine.per_weight(kind).flat
        flat[:] = np.arange(flat.size) + 1 + 1e5 * i
    return engine


def test_they_start_at_zero_and_are_aligned_with_the_gradients(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), per_weight=KINDS)
    x, y = data(graph, 8)
    pass_through(engine, x, y)
    fisher = engine.per_weight("fisher")
    assert fisher is engine.per_weight("fisher") and fisher is not engine.per_weight("anchor")
    assert fisher.flat.dtype == np.float32 and fisher.flat.shape == engine.gradients.flat.shape
    assert not fisher.flat.any()
    fisher.flat += engine.gradients.flat**2
    for name, p in engine.model.parameters.items():
        if p.spec.trained:
            assert np.array_equal(fisher[name], engine.gradients[name] ** 2)
    kept = fisher.copy()
    engine.step(0.1)
    train(engine, x, y)
    assert fisher.flat.tobytes() == kept.tobytes()  # no step moves them


def test_a_new_pattern_carries_them_like_a_moment(engine_factory):
    engine = filled(engine_factory)
    p = engine.model[SPARSE]
    old, others = p.pattern, engine.per_weight("fisher")["conv3.weight"].copy()
    dense = {k: p.dense(engine.per_weight(k)[SPARSE]).ravel().copy() for k in KINDS}
    new = random_pattern(p.spec.size, 0.4, np.random.default_rng(3))
    engine.set_pattern(SPARSE, new)
    survives = np.isin(new, old)
    for kind in KINDS:
        now = engine.per_weight(kind)
        assert now.flat.shape == engine.gradients.flat.shape
        assert np.array_equal(now[SPARSE][survives], dense[kind][new[survives]])
        assert survives.any() and not now[SPARSE][~survives].any()
        now[SPARSE][:] = -1  # a view of the flat array, also after the change
        assert (now.flat == -1).sum() == new.size
    assert np.array_equal(engine.per_weight("fisher")["conv3.weight"], others)


@given(densities=st.lists(st.sampled_from([0.0, 0.05, 0.5, 1.0]), min_size=1, max_size=5), seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_whatever_the_patterns_they_follow_the_moment(densities, seed):
    graph = small_cnn()
    rng = np.random.default_rng(seed)
    engines = [
        make_engine(kind, graph, sparse_model(graph, 0.5), Optimizer(momentum=0.9), per_weight=("twin",))
        for kind in ENGINES
    ]
    for density in densities:
        size = engines[0].model[SPARSE].spec.size
        pattern = random_pattern(size, density, rng)[: round(size * density)]
        values = rng.normal(size=engines[0].model[SPARSE].living)
        for engine in engines:
            p = engine.model[SPARSE]
            p.moments["momentum"][:] = engine.per_weight("twin")[SPARSE][:] = values
            engine.set_pattern(SPARSE, None if density == 1 else pattern)
            twin = engine.per_weight("twin")
            assert p.moments["momentum"].tobytes() == twin[SPARSE].tobytes() == p.per_weight["twin"].tobytes()


@pytest.mark.parametrize("grow", ["replan", "head"])
def test_a_wider_head_carries_them(engine_factory, grow):
    graph, wide = (build("mlp", (2, 3, 3), n, hidden=(10, 7)) for n in (3, 6))
    engine = engine_factory(graph, None, Optimizer(momentum=0.9), per_weight=KINDS, rng=np.random.default_rng(4))
    engine.set_pattern("fc2.weight", random_pattern(70, 0.5, np.random.default_rng(2)))
    flat = engine.per_weight("anchor").flat
    flat[:] = np.arange(flat.size) + 1
    before = {n: engine.per_weight("anchor")[n].copy() for n in graph.parameters}
    if grow == "head":
        grow_parameters(engine.model, wide, np.random.default_rng(1))
    engine.replan(engine_factory.plan(wide, Optimizer(momentum=0.9), per_weight=KINDS))
    anchor = engine.per_weight("anchor")
    assert anchor.flat.shape == engine.gradients.flat.shape
    for name, old in before.items():
        assert np.array_equal(anchor[name][: old.size], old) and not anchor[name][old.size :].any()
    assert anchor["logits.weight"].size == 42
    train(engine, *data(wide, 8))


def test_they_are_saved_and_loaded(engine_factory):
    engine = filled(engine_factory)
    state = engine.state()
    again = engine_factory(small_cnn(), None, Optimizer(momentum=0.9), per_weight=KINDS)
    handle = again.per_weight("fisher")
    again.load(state)
    assert same_state(again.state(), state)
    assert handle.flat.tobytes() == engine.per_weight("fisher").flat.tobytes()
    again.set_pattern(SPARSE, np.array([3], np.int32))
    engine.set_pattern(SPARSE, np.array([3], np.int32))
    assert same_state(again.state(), engine.state())


def test_an_earlier_state_without_them_loads_as_zero_and_unplanned_ones_are_refused(engine_factory):
    engine = filled(engine_factory)
    plain = engine_factory(small_cnn(), None, Optimizer(momentum=0.9))
    earlier, rich = plain.state(), engine.state()
    with pytest.raises(BadInput, match="array '"):
        plain.load(rich)
    assert same_state(plain.state(), earlier)
    with pytest.raises(BadInput, match="fisher"):
        engine.load({**rich, f"{SPARSE}/per_weight/fisher": np.zeros(3, np.float32)})
    assert same_state(engine.state(), rich)
    engine.load(earlier)
    assert not engine.per_weight("fisher").flat.any() and not engine.per_weight("anchor").flat.any()
    assert {k for k in engine.state() if "/per_weight/" not in k} == set(earlier)


def test_reset_clears_them_and_replan_keeps_those_that_stay_declared(engine_factory):
    engine = filled(engine_factory)
    anchor = engine.per_weight("anchor").copy()
    engine.replan(engine_factory.plan(small_cnn(), Optimizer(momentum=0.9), batch=4, per_weight=("anchor",)))
    assert engine.per_weight("anchor").flat.tobytes() == anchor.tobytes()
    with pytest.raises(BadInput, match="'fisher'"):
        engine.per_weight("fisher")
    assert not any("fisher" in key for key in engine.state())
    engine.reset([SPARSE], np.random.default_rng(0))
    assert not engine.per_weight("anchor")[SPARSE].any() and engine.per_weight("anchor")["conv3.weight"].all()
    with pytest.raises(BadInput, match=r"per_weight=\('x',\)"):
        engine_factory(small_cnn()).per_weight("x")


def test_the_plan_counts_arrays_and_gradient_copies():
    graph = small_cnn()
    densities = {n: 0.5 for n in graph.prunable()}
    plain = make_plan("native", graph, densities=densities).memory
    rich = make_plan("native", graph, densities=densities, per_weight=KINDS, gradient_copies=3).memory
    engine = make_engine("native", graph, sparse_model(graph, 0.5), densities=densities, per_weight=KINDS)
    held = sum(engine.per_weight(k).flat.nbytes for k in KINDS)
    assert rich["per_weight"] == held == 2 * engine.gradients.copy().nbytes
    assert rich["gradient_copies"] == 3 * engine.gradients.copy().nbytes
    assert {k: v for k, v in rich.items() if k not in ("per_weight", "gradient_copies")} == plain
    with pytest.raises(BadInput):
        make_plan("native", graph, gradient_copies=-1)


def test_a_model_alone_carries_them_through_its_state():
    graph = small_cnn()
    model = sparse_model(graph)
    model[SPARSE].per_weight["fisher"] = np.ones(model[SPARSE].living, np.float32)
    again = Model.from_state(graph, model.state())
    assert again[SPARSE].per_weight["fisher"].tobytes() == model[SPARSE].per_weight["fisher"].tobytes()
