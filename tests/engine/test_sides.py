"""Sides: parameter sets beside the model, with patterns and statistics of their own."""

import threading

import numpy as np
import pytest
from engine_kinds import ENGINES, make_engine, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import (
    SEED,
    data,
    pass_through,
    random_pattern,
    relative,
    residual,
    same_state,
    seed_gradient,
    small_cnn,
    sparse_model,
    train,
)  # fmt: skip

from edgecl.compiler import Optimizer
from edgecl.engine import Model
from edgecl.errors import BadInput
from edgecl.graph.builders import build
from edgecl.learning.head import grow_parameters

SPARSE = "conv2.weight"
NETS = {
    "cnn": small_cnn,
    "residual": residual,
    "ds_cnn": lambda: build("ds_cnn", (1, 49, 10), 4, width=8, blocks=2),
    "mobilenetv2": lambda: build("mobilenetv2", (3, 16, 16), 3, width=0.25),
}


def evaluate(engine, x, params=None):
    return engine.forward({"input": x}, training=False, params=params)["logits"]


@pytest.mark.parametrize("net", NETS)
def test_a_copy_predicts_as_the_model_did_whatever_became_of_the_model(engine_factory, net):
    graph = NETS[net]()
    name = graph.prunable()[0] if graph.prunable() else "conv.weight"
    x, y = data(graph, 8)
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9), sides=("teacher",))
    train(engine, x, y)
    teacher = engine.side("teacher")
    teacher.copy_from(engine.model)
    counts = [engine.meters.forward_flops]
    then = evaluate(engine, x)
    counts.append(engine.meters.forward_flops)
    assert evaluate(engine, x, teacher).tobytes() == then.tobytes()
    counts.append(engine.meters.forward_flops)
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    train(engine, x, y)
    size = engine.model[name].spec.size
    engine.set_pattern(name, random_pattern(size, 0.6, np.random.default_rng(3)))
    train(engine, x, y)
    before = engine.meters.forward_flops
    assert evaluate(engine, x, teacher).tobytes() == then.tobytes()
    ours = engine.meters.forward_flops - before
    assert (evaluate(engine, x) != then).any()
    assert engine.meters.forward_flops - before - ours > ours  # the model has more living weights now
    assert engine.predictor(3, side="teacher")(x)["logits"].tobytes() == then.tobytes()


def test_forwards_with_a_side_leave_training_bit_equal(engine_factory):
    graph = small_cnn(dropout=0.3)
    x, y = data(graph, 8)
    a = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    b = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9), sides=("ema", "virtual"))
    predict = b.predictor(4, side="ema")
    for _ in range(3):
        pass_through(a, x, y)
        logits = b.forward({"input": x})["logits"]
        b.side("ema").blend(0.9)
        evaluate(b, x, b.side("ema"))
        predict(x)
        b.backward({"logits": seed_gradient(logits, y)})
        b.side("virtual").virtual(0.1)
        evaluate(b, x, b.side("virtual"))
        a.step(0.1), b.step(0.1)
    ours = {k: v for k, v in b.state().items() if not k.startswith("side/")}
    assert same_state(a.state(), ours)


def test_blend_averages_weights_and_statistics(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), sides=("ema",))
    x, y = data(graph, 8)
    side = engine.side("ema")
    side.blend(0.9)  # it held nothing: now it is the model
    mean = {n: p.values.astype(np.float64) for n, p in engine.model.parameters.items()}
    assert all(side[n].values.tobytes() == p.values.tobytes() for n, p in engine.model.parameters.items())
    for a in (0.9, 0.5, 0.0, 1.0):
        train(engine, x, y, steps=1)
        side.blend(a)
        for n, p in engine.model.parameters.items():
            mean[n] = a * mean[n] + (1 - a) * p.values
            assert relative(side[n].values, mean[n]) < 1e-6, n
    with pytest.raises(BadInput):
        side.blend(1.5)


@given(seed=st.integers(0, 10**6), densities=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_a_blend_follows_the_pattern_and_equals_the_dense_average(seed, densities):
    graph = small_cnn()
    rng = np.random.default_rng(seed)
    engine = make_engine("native", graph, sparse_model(graph, 0.5), sides=("ema",))
    side, p = engine.side("ema"), engine.model[SPARSE]
    side.copy_from(engine.model)
    mean = p.dense().astype(np.float64)
    for density in densities:
        pattern = random_pattern(p.spec.size, density, rng)[: round(density * p.spec.size)]
        engine.set_pattern(SPARSE, None if density == 1.0 else pattern)
        p.values[:] = rng.normal(size=p.living)
        side.blend(0.7)
        alive = np.isin(np.arange(p.spec.size), pattern).reshape(p.spec.shape)
        mean = np.where(alive, 0.7 * mean, 0) + 0.3 * p.dense()  # who left comes back at 0
        assert side[SPARSE].living == p.living
        assert np.abs(side[SPARSE].dense() - mean).max() < 1e-6


def test_a_virtual_step_is_a_plain_step_not_taken(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), sides=("virtual",))
    twin = engine_factory(graph, sparse_model(graph))
    x, y = data(graph, 8)
    for one in (engine, twin):
        one.freeze(["conv3.weight", "norm1.running_mean", "norm2.running_mean", "norm3.running_mean"])
        one.freeze(["norm1.running_var", "norm2.running_var", "norm3.running_var"])
        one.set_gradient_mask(SPARSE, np.arange(0, one.model[SPARSE].living, 2, dtype=np.int32))
        pass_through(one, x, y)
    before, gradient = engine.state(), engine.gradients.copy()
    side = engine.side("virtual")
    side.virtual(0.05)
    twin.step(0.05)
    for name, p in twin.model.parameters.items():
        assert relative(side[name].values, p.values) < 1e-6, name
    assert relative(evaluate(engine, x, side), evaluate(twin, x)) < 1e-5
    assert same_state({k: v for k, v in engine.state().items() if k in before}, before)
    assert engine.gradients.flat.tobytes() == gradient.tobytes()


def test_both_engines_keep_sides_alike():
    graph = residual()
    x, y = data(graph, 8)
    found = []
    for kind in ENGINES:
        engine = make_engine(kind, graph, sparse_model(graph), sides=("ema", "old"))
        ema, old = engine.side("ema"), engine.side("old")
        old.copy_from(engine.model)
        for step in range(4):
            train(engine, x, y, steps=1)
            ema.blend(0.8)
            if step == 1:
                size = engine.model["conv.weight"].spec.size
                engine.set_pattern("conv.weight", random_pattern(size, 0.4, np.random.default_rng(5)))
        found.append((evaluate(engine, x, ema), evaluate(engine, x, old), engine.meters.to_json()))
    for one, other in zip(found[0][:2], found[1][:2]):
        assert relative(other, one) < 1e-3
    counted = ("forward_flops", "backward_flops", "forwards", "backwards", "steps")
    assert all(found[0][2][k] == found[1][2][k] for k in counted)


@pytest.mark.parametrize("grow", ["replan", "head"])
@pytest.mark.parametrize("sparse_head", [False, True])
def test_after_the_head_grew_a_side_knows_only_its_own_units(engine_factory, grow, sparse_head):
    def as_before(logits, then):
        """To the bit; torch takes another matrix product for another width."""
        return np.array_equal(logits, then) or (engine_factory.kind == "torch" and relative(logits, then) < 1e-6)

    graph, wide = (build("mlp", (2, 3, 3), n, hidden=(10, 7)) for n in (3, 6))
    engine = engine_factory(graph, None, sides=("old", "ema"), rng=np.random.default_rng(4))
    if sparse_head:
        engine.set_pattern("logits.weight", random_pattern(21, 0.5, np.random.default_rng(2)))
    x, y = data(graph, 8)
    train(engine, x, y)
    old, ema = engine.side("old"), engine.side("ema")
    old.copy_from(engine.model), ema.copy_from(engine.model)
    then, predict = evaluate(engine, x), engine.predictor(8, side="old")
    if grow == "head":
        grow_parameters(engine.model, wide, np.random.default_rng(1))
    engine.replan(engine_factory.plan(wide, sides=("old", "ema")))
    assert (old.classes, ema.classes) == (3, 3)
    for logits in (evaluate(engine, x, old), engine.predictor(8, side="old")(x)["logits"]):
        assert as_before(logits[:, :3], then) and np.isneginf(logits[:, 3:]).all()
    assert predict(x)["logits"].shape == (8, 6) or as_before(predict(x)["logits"], then)
    ema.blend(0.5)  # its newcomers start at 0
    new, p = slice(3, None), engine.model["logits.weight"]
    assert ema.classes == 6 and relative(ema["logits.weight"].dense()[new], 0.5 * p.dense()[new]) < 1e-6
    assert np.isfinite(evaluate(engine, x, ema)).all()
    state = engine.state()
    again = engine_factory(wide, None, sides=("old", "ema"))
    again.load(state)
    assert same_state(again.state(), state) and again.side("old").classes == 3
    assert evaluate(again, x, again.side("old")).tobytes() == evaluate(engine, x, old).tobytes()
    engine.replan(engine_factory.plan(wide, sides=("ema",)))
    with pytest.raises(BadInput, match="'old'"):
        engine.side("old")


def test_a_head_that_did_not_grow_after_all_leaves_sides_and_arrays_as_they_were(engine_factory):
    """As `widen_head` undoes what an interrupt cut short."""
    graph, wide = (build("mlp", (2, 3, 3), n, hidden=(10, 7)) for n in (3, 6))
    choices = {"sides": ("old", "ema"), "per_weight": ("fisher",)}
    engine = engine_factory(graph, None, Optimizer(momentum=0.9), **choices)
    engine.set_pattern("logits.weight", random_pattern(21, 0.5, np.random.default_rng(2)))
    x, y = data(graph, 8)
    train(engine, x, y)
    engine.side("ema").blend(0.5)
    engine.per_weight("fisher").flat[:] = 3
    before, parameters, plan = engine.state(), dict(engine.model.parameters), engine.plan
    grow_parameters(engine.model, wide, np.random.default_rng(1))
    engine.replan(engine_factory.plan(wide, Optimizer(momentum=0.9), **choices))
    engine.per_weight("fisher").flat[:] = 4
    engine.model.graph = graph
    engine.model.parameters.update(parameters)
    engine.replan(plan)
    assert same_state(engine.state(), before)
    train(engine, x, y)


def test_sides_are_saved_and_continue_bit_for_bit(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)

    def go_on(engine):
        for _ in range(2):
            train(engine, x, y, steps=1)
            engine.side("ema").blend(0.9)

    a = engine_factory(graph, sparse_model(graph), Optimizer("adam"), sides=("ema", "old", "unused"))
    a.side("old").copy_from(a.model)
    go_on(a)
    a.set_pattern(SPARSE, random_pattern(a.model[SPARSE].spec.size, 0.5, np.random.default_rng(1)))
    state = a.state()
    b = engine_factory(graph, None, Optimizer("adam"), sides=("ema", "old", "unused"))
    b.side("unused").copy_from(b.model)
    evaluate(b, x, b.side("unused"))
    b.load(state)
    assert same_state(b.state(), state) and b.side("unused").empty
    for name in ("ema", "old"):
        assert evaluate(a, x, a.side(name)).tobytes() == evaluate(b, x, b.side(name)).tobytes()
    go_on(a), go_on(b)
    assert same_state(a.state(), b.state())


def test_a_state_without_sides_loads_and_one_with_others_is_refused(engine_factory):
    graph = small_cnn()
    plain = engine_factory(graph, sparse_model(graph))
    with_side = engine_factory(graph, None, sides=("ema",))
    with_side.side("ema").copy_from(with_side.model)
    rich = with_side.state()
    before = plain.state()
    with pytest.raises(BadInput, match="side 'ema'"):
        plain.load(rich)
    assert same_state(plain.state(), before)
    for key, value in [
        ("side/ema/conv1.weight/values", rich["side/ema/conv1.weight/values"][:-1]),
        ("side/ema/classes", np.array([9])),
        ("side/ema/conv9.weight/values", np.zeros(3, np.float32)),
        ("side/ema", np.zeros(1, np.float32)),
    ]:
        with pytest.raises(BadInput):
            with_side.load({**rich, key: value})
        assert same_state(with_side.state(), rich), key
    with_side.load(before)  # as an earlier version saved it
    assert with_side.side("ema").empty and same_state(with_side.state(), before)


def test_an_empty_side_is_refused_by_forward_and_predicts_as_the_model(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sides=("ema",))
    x, y = data(graph, 8)
    side, predict = engine.side("ema"), engine.predictor(8, side="ema")
    assert side.empty
    with pytest.raises(BadInput, match="holds nothing yet"):
        evaluate(engine, x, side)
    with pytest.raises(BadInput, match="holds nothing yet"):
        engine.side("ema").copy_from(side)
    first = predict(x)["logits"]
    assert first.tobytes() == evaluate(engine, x).tobytes()
    side.copy_from(engine.model)
    train(engine, x, y)
    assert predict(x)["logits"].tobytes() == first.tobytes() != evaluate(engine, x).tobytes()


def test_only_declared_sides_exist(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sides=("ema",))
    with pytest.raises(BadInput, match="'teacher'"):
        engine.side("teacher")
    with pytest.raises(BadInput, match="'teacher'"):
        engine.predictor(4, side="teacher")
    with pytest.raises(BadInput, match=r"sides=\('ema',\)"):
        engine_factory(graph).side("ema")
    foreign = engine_factory(graph, sides=("ema",)).side("ema")
    foreign.copy_from(engine.model)
    with pytest.raises(BadInput, match="not one of this engine"):
        evaluate(engine, data(graph, 2)[0], foreign)
    for bad in (("a/b",), ("",)):
        with pytest.raises(BadInput):
            engine_factory(graph, sides=bad)


def test_a_side_predicts_from_other_threads_while_it_is_blended(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    alone = engine_factory(graph, sparse_model(graph), sides=("ema",))
    watched = engine_factory(graph, sparse_model(graph), sides=("ema",))
    predict = watched.predictor(8, fetch=("logits",), side="ema")
    stop, failures, calls = threading.Event(), [], []

    def watch():
        while not stop.is_set():
            try:
                calls.append(np.isfinite(predict(x)["logits"]).all())
            except Exception as error:
                failures.append(error)
                return

    def learn(engine):
        for step in range(10):
            train(engine, x, y, steps=1)
            engine.side("ema").blend(0.9)
            if step % 3 == 0:
                size = engine.model[SPARSE].spec.size
                engine.set_pattern(SPARSE, random_pattern(size, 0.3, np.random.default_rng(step)))

    thread = threading.Thread(target=watch)
    learn(alone)
    thread.start()
    learn(watched)
    stop.set()
    thread.join()
    assert not failures and all(calls)
    assert same_state(alone.state(), watched.state())


def test_a_side_in_an_arena_of_nan_predicts_the_same():
    graph = NETS["ds_cnn"]()
    x, _ = data(graph, 8)
    engine = make_engine("native", graph, Model(graph, np.random.default_rng(SEED)), sides=("old",))
    engine.side("old").copy_from(engine.model)
    clean = evaluate(engine, x, engine.side("old"))
    engine._evaluator.poison()
    assert evaluate(engine, x, engine.side("old")).tobytes() == clean.tobytes()


def test_the_plan_counts_what_sides_hold():
    graph = build("cnn", (1, 28, 28), 10)
    densities = {n: 0.2 for n in graph.prunable()}
    plans = [make_plan("native", graph, densities=densities, sides=s) for s in ((), ("a",), ("a", "b"))]
    assert plans[2].memory["sides"] == 2 * plans[1].memory["sides"] and "sides" not in plans[0].memory
    assert all(plans[0].memory[k] == plans[2].memory[k] for k in plans[0].memory)
    from edgecl.engine.native import NativeEngine

    engine = NativeEngine(sparse_model(graph, 0.2), plans[2])
    x, _ = data(graph, 4)
    for name in ("a", "b"):
        engine.side(name).copy_from(engine.model)
        for n in graph.prunable():  # patterns of its own: the model moved on
            engine.set_pattern(n, random_pattern(engine.model[n].spec.size, 0.2, np.random.default_rng(len(name))))
        evaluate(engine, x, engine.side(name))
    held = engine._evaluator.side_bytes()
    for name in ("a", "b"):
        for p in engine.side(name).parameters.values():
            held += p.values.nbytes + (0 if p.pattern is None else p.pattern.nbytes)
    assert abs(plans[2].memory["sides"] - held) <= 0.05 * held
