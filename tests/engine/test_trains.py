"""What a plan trains: everything, the classifier alone, or nothing; what is not trained takes no memory."""

import gc

import numpy as np
import pytest
from engine_kinds import ENGINES, make_engine, make_plan
from small_nets import (
    SEED,
    data,
    pass_through,
    random_pattern,
    relative,
    residual,
    same_state,
    small_cnn,
    small_mlp,
    sparse_model,
    train,
)  # fmt: skip

from edgecl.compiler import Optimizer, Plan
from edgecl.engine import Model
from edgecl.errors import BadInput
from edgecl.graph import GraphBuilder
from edgecl.graph.builders import build

NETS = {
    "cnn": small_cnn,
    "dropout": lambda: small_cnn(dropout=0.4),
    "group": lambda: small_cnn("group"),
    "mlp": small_mlp,
    "residual": residual,
    "ds_cnn": lambda: build("ds_cnn", (1, 49, 10), 4, width=8, blocks=2),
}
HEAD = ("logits.weight", "logits.bias")
nets = pytest.mark.parametrize("net", NETS)


def settle(engine, x, y):
    """Statistics that a prediction can use."""
    train(engine, x, y, steps=2, lr=0.01)


@nets
def test_the_head_alone_learns_what_predictions_feed_it(engine_factory, net):
    graph = NETS[net]()
    x, y = data(graph, 8)
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    settle(engine, x, y)
    before = engine.state()
    choices = {"trains": "head", "fetch": ("features",), "predict_fetch": ("features",)}
    engine.replan(engine_factory.plan(graph, Optimizer(momentum=0.9), **choices))
    assert engine.gradients.flat.size == sum(engine.model[n].living for n in HEAD)
    features = engine.predictor(8, fetch=("features",))(x)["features"]
    meters = engine.meters.backward_flops
    outs = engine.forward({"input": x}, fetch=("logits", "features"))
    assert outs["features"].tobytes() == features.tobytes()
    seed = np.random.default_rng(0).normal(size=outs["logits"].shape).astype(np.float32)
    engine.backward({"logits": seed})
    assert relative(engine.gradients["logits.weight"], (seed.T @ features).ravel()) < 1e-5
    assert relative(engine.gradients["logits.bias"], seed.sum(0)) < 1e-5
    assert engine.meters.backward_flops - meters == 2 * 8 * engine.model["logits.weight"].living
    engine.step(0.1)
    for key, old in before.items():
        name, _, what = key.partition("/")
        if what == "values":
            assert (engine.model[name].values.tobytes() != old.tobytes()) == (name in HEAD), key
    assert engine.predictor(8, fetch=("features",))(x)["features"].tobytes() == features.tobytes()


@nets
def test_both_engines_train_the_head_alike(net):
    graph = NETS[net]()
    x, y = data(graph, 8)
    found = []
    for kind in ENGINES:
        engine = make_engine(kind, graph, sparse_model(graph), Optimizer("adam"), trains="head")
        train(engine, x, y, steps=3, lr=0.01)
        found.append((engine.model["logits.weight"].values.copy(), engine.meters.to_json()))
    assert relative(found[1][0], found[0][0]) < 1e-4
    assert all(found[0][1][k] == found[1][1][k] for k in ("forward_flops", "backward_flops", "forwards", "steps"))


def test_seeds_below_the_head_reach_nothing(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, trains="head", fetch=("features",))
    outs = engine.forward({"input": data(graph, 4)[0]}, fetch=("logits", "features"))
    engine.backward({"features": np.ones_like(outs["features"])})
    assert not engine.gradients.flat.any()


@nets
def test_without_training_only_predictions_are_left(engine_factory, net):
    graph = NETS[net]()
    x, y = data(graph, 8)
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    settle(engine, x, y)
    logits, values = engine.predictor(8)(x)["logits"], engine.snapshot()
    engine.replan(engine_factory.plan(graph, Optimizer(momentum=0.9), trains="none"))
    assert engine.gradients.flat.size == 0 and not any("moment" in key for key in engine.state())
    assert engine.predictor(8)(x)["logits"].tobytes() == logits.tobytes()
    assert engine.forward({"input": x}, training=False)["logits"].tobytes() == logits.tobytes()
    for call in (
        lambda: engine.forward({"input": x}),
        lambda: engine.backward({"logits": logits}),
        lambda: engine.step(0.1),
    ):
        with pytest.raises(BadInput, match="trains nothing"):
            call()
    engine.discard(), engine.clear_gradients()
    assert all(values[n].tobytes() == p.values.tobytes() for n, p in engine.model.parameters.items())
    name = (*graph.prunable(), "logits.weight")[0]
    engine.set_pattern(name, random_pattern(engine.model[name].spec.size, 0.2, np.random.default_rng(1)))
    assert np.isfinite(engine.predictor(8)(x)["logits"]).all()


@pytest.mark.parametrize("trains", ["none", "head"])
def test_back_to_training_everything_continues_as_from_a_saved_model(engine_factory, trains):
    graph = small_cnn()
    x, y = data(graph, 8)
    optimizer = Optimizer("adam")
    a = engine_factory(graph, sparse_model(graph), optimizer)
    settle(a, x, y)
    a.set_gradient_mask("conv2.weight", np.arange(7, dtype=np.int32))
    values = {k: v for k, v in a.state().items() if "moment" not in k and "step_count" not in k}
    a.replan(engine_factory.plan(graph, optimizer, trains=trains))
    a.replan(engine_factory.plan(graph, optimizer))
    b = engine_factory(graph, None, optimizer)
    b.load(values)  # weights, masks, statistics; the optimizer starts anew
    if trains == "head":  # whose own state was never dropped
        for name in HEAD:
            b.model[name].moments = {k: m.copy() for k, m in a.model[name].moments.items()}
            b.model[name].step_count = a.model[name].step_count
            assert a.model[name].step_count == 2 and all(m.any() for m in b.model[name].moments.values())
        b.load(b.state())
    assert same_state(a.state(), b.state())
    train(a, x, y), train(b, x, y)
    assert same_state(a.state(), b.state())


def test_replanning_releases_what_training_took():
    graph = build("cnn", (1, 28, 28), 10)
    densities = {n: 0.2 for n in graph.prunable()}
    optimizer = Optimizer(momentum=0.9)
    plans = {
        t: make_plan("native", graph, optimizer, batch=32, predict_batch=32, densities=densities, trains=t)
        for t in ("all", "head", "none")
    }
    engine = make_engine("native", graph, sparse_model(graph, 0.2), optimizer, densities=densities)
    held = {}
    for trains in ("all", "none", "all", "head", "none"):
        engine.replan(plans[trains])
        if trains != "none":
            train(engine, *data(graph, 32), steps=1)
        engine.predictor(32)(data(graph, 32)[0])
        gc.collect()
        ps = engine.model.parameters.values()
        arrays = [a for p in ps for a in (p.values, p.pattern, *p.moments.values()) if a is not None]
        held[trains] = {
            "parameters": sum(a.nbytes for a in arrays) + engine.gradients.flat.nbytes,
            "lists": engine._network.kernel_bytes(),
            "arena": 0 if engine._session is None else engine._session.arena_bytes,
        }
    for trains, found in held.items():
        for key, n in found.items():
            assert abs(plans[trains].memory[key] - n) <= 0.02 * n + 2000, (trains, key)
    assert plans["none"].memory["arena"] == 0 < plans["head"].memory["arena"] < plans["all"].memory["arena"] / 2
    assert plans["none"].bytes < plans["head"].bytes < plans["all"].bytes
    assert plans["none"].memory["predict_arena"] == plans["all"].memory["predict_arena"]


def test_arrays_per_weight_and_copies_are_those_of_what_is_trained(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, None, per_weight=("fisher",))
    engine.per_weight("fisher").flat[:] = 1
    engine.replan(engine_factory.plan(graph, trains="head", per_weight=("fisher",), gradient_copies=2))
    living = sum(engine.model[n].living for n in HEAD)
    assert engine.per_weight("fisher").flat.tolist() == [1] * living
    if engine.plan.program:
        assert engine.plan.memory["gradient_copies"] == 2 * 4 * living == 2 * engine.plan.memory["per_weight"]
    with pytest.raises(BadInput, match="gets no gradient"):
        engine.visit_dense_gradients(["conv2.weight"], print)
    engine.replan(engine_factory.plan(graph, per_weight=("fisher",)))
    assert engine.per_weight("fisher").flat.sum() == living


def test_sides_go_through_replanning_to_none(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    engine = engine_factory(graph, sparse_model(graph), sides=("old",))
    train(engine, x, y)
    engine.side("old").copy_from(engine.model)
    then = engine.predictor(8)(x)["logits"]
    train(engine, x, y)
    engine.replan(engine_factory.plan(graph, trains="none", sides=("old",)))
    assert engine.predictor(8, side="old")(x)["logits"].tobytes() == then.tobytes()
    engine.side("old").virtual(0.1)  # no gradients: the model itself
    assert engine.predictor(8, side="old")(x)["logits"].tobytes() == engine.predictor(8)(x)["logits"].tobytes()


@nets
@pytest.mark.parametrize("activations", ["float32", "bfloat16"])
def test_a_head_trained_in_an_arena_of_nan_gives_the_same_bits(net, activations):
    graph = NETS[net]()
    x, y = data(graph, 5)
    states = []
    for poison in (False, True):
        engine = make_engine("native", graph, Model(graph, np.random.default_rng(SEED)), trains="head",
                             activations=activations, rng=np.random.default_rng(0))  # fmt: skip
        for _ in range(2):
            if poison:
                engine._session.poison(), engine._evaluator.poison()
            pass_through(engine, x, y)
            engine.step(0.1)
        states.append(engine.state())
    assert same_state(*states) and all(np.isfinite(v).all() for v in states[0].values())


def test_a_plan_says_what_it_trains_and_travels_as_json():
    graph = small_cnn()
    plan = make_plan("native", graph, trains="head", sides=("a",), per_weight=("f",), fetch=("features",))
    again = Plan.from_json(plan.to_json())
    assert again.extras == plan.extras and again.extras.trains == "head" and again.extras.sides == ("a",)
    earlier = {k: v for k, v in plan.to_json().items() if k != "extras"}
    assert Plan.from_json(earlier).extras.trains == "all"
    with pytest.raises(BadInput, match="'body'"):
        make_plan("native", graph, trains="body")


def test_a_classifier_with_a_batch_norm_cannot_be_trained_alone():
    g = GraphBuilder("own", (4, 1, 1))
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * 4, std=[1.0] * 4, pad=0)
    x = g.add("linear", [g.add("flatten", [x], name="flat")], name="fc", out=5)
    graph = g.build(g.add("batch_norm", [g.add("linear", [x], name="scores", out=3)], name="norm"))
    assert graph.features == "fc"
    with pytest.raises(BadInput, match="batch norm 'norm'"):
        make_plan("native", graph, trains="head")
