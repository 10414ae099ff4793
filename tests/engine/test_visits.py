"""Visits of dense gradients: every backward of a step, counted alike by both engines."""

import numpy as np
import pytest
from dense_sums import DenseSums
from engine_kinds import ENGINES, make_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import data, pass_through, random_pattern, relative, residual, seed_gradient, small_cnn, sparse_model

from edgecl.compiler import weight_costs
from edgecl.errors import BadInput
from edgecl.graph.builders import build


def dense_twin(graph, model):
    full = sparse_model(graph, 1.0)
    for name, p in model.parameters.items():
        full[name].set_pattern(None)
        full[name].values[:] = p.dense().ravel()
    return full


def test_a_visit_sees_every_chunk_of_a_step_and_ends_with_it(engine_factory):
    graph = small_cnn("group")
    model = sparse_model(graph)
    whole = engine_factory(graph, dense_twin(graph, model))
    x, y = data(graph, 9)
    engine = engine_factory(graph, model)
    dense = DenseSums(engine, graph.prunable())
    dense.begin()
    for rows in (slice(0, 4), slice(4, 8), slice(8, 9)):
        for one in (whole, engine):
            logits = one.forward({"input": x[rows]})["logits"]
            one.backward({"logits": seed_gradient(logits, y[rows])})
    for name, found in dense.sums.items():
        assert relative(found.ravel(), whole.gradients[name]) < 1e-4
        assert relative(engine.gradients[name], whole.gradients[name][model[name].pattern]) < 1e-4
    seen = {n: a.copy() for n, a in dense.sums.items()}
    engine.step(0.0)
    pass_through(engine, x, y)
    assert all(np.array_equal(seen[n], a) for n, a in dense.sums.items())


@pytest.mark.parametrize("end", ["step", "discard", "replan", "load"])
def test_whatever_drops_the_step_ends_the_visit(engine_factory, end):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    x, y = data(graph, 4)
    engine.visit_dense_gradients(["conv2.weight"], lambda *_: pytest.fail("visited"))
    {
        "step": lambda: engine.step(0.0),
        "discard": engine.discard,
        "replan": lambda: engine.replan(engine.plan),
        "load": lambda: engine.load(engine.state()),
    }[end]()
    pass_through(engine, x, y)


def test_no_names_end_a_visit(engine_factory):
    engine = engine_factory(small_cnn())
    engine.visit_dense_gradients(["conv2.weight"], lambda *_: pytest.fail("visited"))
    engine.visit_dense_gradients([], print)
    pass_through(engine, *data(small_cnn(), 4))


@pytest.mark.parametrize("net", ["small", "residual", "ds_cnn", "mobilenetv2"])
def test_both_engines_count_a_visit_alike_and_give_the_same_gradients(net):
    graph = {
        "small": small_cnn,
        "residual": residual,
        "ds_cnn": lambda: build("ds_cnn", (1, 49, 10), 4, width=8, blocks=2),
        "mobilenetv2": lambda: build("mobilenetv2", (3, 16, 16), 3, width=0.25),
    }[net]()
    x, y = data(graph, 5)
    visited = [c.name for c in weight_costs(graph)][::2]
    counts, flats, sums = [], [], []
    for kind in ENGINES:
        model = sparse_model(graph, 0.4)
        engine = make_engine(kind, graph, model)
        first = graph.prunable()[0]
        engine.set_gradient_mask(first, np.arange(0, model[first].living, 3, dtype=np.int32))
        engine.freeze([visited[-1]])
        dense = DenseSums(engine, visited)
        dense.begin()
        pass_through(engine, x, y)
        counts.append((engine.meters.forward_flops, engine.meters.backward_flops, engine.meters.backwards))
        flats.append(engine.gradients.copy())
        sums.append(dense.sums)
    assert counts[0] == counts[1]
    if net != "mobilenetv2":  # deep, its last maps of one position: rounding decides which side of a kink they are on
        assert relative(flats[1], flats[0]) < 1e-4
        assert all(relative(sums[1][name], sums[0][name]) < 1e-4 for name in visited)
    unseen = make_engine("native", graph, sparse_model(graph, 0.4))
    pass_through(unseen, x, y)
    for name in visited:
        pattern, dense = unseen.model[name].pattern, sums[ENGINES.index("native")][name].ravel()
        assert relative(dense if pattern is None else dense[pattern], unseen.gradients[name]) < 1e-5, name


@given(seed=st.integers(0, 10**6), density=st.sampled_from([0.0, 0.05, 0.5, 1.0]), masked=st.booleans())
@settings(deadline=None, max_examples=25)
def test_what_lives_gets_the_gradient_it_gets_without_a_visit(seed, density, masked):
    graph = residual()
    rng = np.random.default_rng(seed)
    x, y = data(graph, 6, seed)
    names = ["conv.weight", "depth.weight", "short.weight"]
    flats = []
    for visits in (False, True):
        model = sparse_model(graph, 1.0)
        for name in names:
            size = model[name].spec.size
            model[name].set_pattern(
                random_pattern(size, density, np.random.default_rng(seed)) if density else np.zeros(0, np.int32)
            )
        engine = make_engine("native", graph, model)
        if masked:
            living = model["conv.weight"].living
            engine.set_gradient_mask("conv.weight", np.arange(seed % 3, living, 2, dtype=np.int32))
        if visits:
            engine.visit_dense_gradients(names, lambda name, rows, block: block.fill(rng.normal()))  # it is theirs
        pass_through(engine, x, y)
        flats.append(engine.gradients.copy())
    assert relative(flats[1], flats[0]) < 1e-5


def test_a_frozen_weight_is_seen_and_keeps_no_gradient(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    engine.freeze(["conv2.weight"])
    dense = DenseSums(engine, ["conv2.weight"])
    dense.begin()
    pass_through(engine, *data(graph, 8))
    assert dense.sums["conv2.weight"].any() and not engine.gradients["conv2.weight"].any()


def test_only_weights_of_layers_can_be_visited(engine_factory):
    engine = engine_factory(small_cnn())
    with pytest.raises(BadInput, match=r"norm1\.scale"):
        engine.visit_dense_gradients(["norm1.scale"], print)
