"""Tensors beside the logits: planned, fetched from training and evaluation forwards and predictions, seeded."""

import numpy as np
import pytest
from engine_kinds import ENGINES, kind_engine
from small_nets import SEED, data, pass_through, relative, residual, seed_gradient, small_cnn, small_mlp

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.select import compile_for
from edgecl.errors import BadInput
from edgecl.graph import GraphBuilder
from edgecl.graph.builders import build

NETS = [small_cnn, small_mlp, residual]


def planned(kind, graph, **extras):
    return compile_for(
        kind, graph, batch=8, predict_batch=8, densities={}, optimizer=Optimizer(), threads=1, **extras
    )  # fmt: skip


def engine_of(kind, graph, **extras):
    return kind_engine(kind)(Model(graph, np.random.default_rng(SEED)), planned(kind, graph, **extras))


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("kind", ENGINES)
def test_features_are_what_the_classifier_multiplies(kind, make):
    graph = make()
    engine = engine_of(kind, graph, fetch=("logits", "features"), predict_fetch=("features", "logits"))
    x, _ = data(graph, 7)
    weight, bias = engine.model["logits.weight"].dense(), engine.model["logits.bias"].values
    for outs in (
        engine.forward({"input": x}, fetch=("features", "logits")),
        engine.forward({"input": x}, fetch=("features", "logits"), training=False),
        engine.predictor(3, fetch=("features", "logits"))(x),
    ):
        assert set(outs) == {"features", "logits"} and all(a.dtype == np.float32 for a in outs.values())
        assert relative(outs["features"] @ weight.T + bias, outs["logits"]) < 1e-5


@pytest.mark.parametrize("make", NETS)
def test_both_engines_fetch_and_seed_features_alike(make):
    graph = make()
    x, y = data(graph, 8)
    outs, gradients = [], []
    for kind in ENGINES:
        engine = engine_of(kind, graph, fetch=("logits", "features"))
        outs.append(engine.forward({"input": x}, fetch=("logits", "features")))
        pull = np.random.default_rng(1).normal(size=outs[-1]["features"].shape).astype(np.float32)
        engine.backward({"logits": seed_gradient(outs[-1]["logits"], y), "features": pull})
        gradients.append(engine.gradients.copy())
    assert relative(outs[1]["features"], outs[0]["features"]) < 1e-5
    assert relative(gradients[1], gradients[0]) < 1e-4


@pytest.mark.parametrize("kind", ENGINES)
def test_fetching_more_changes_no_bit_of_logits_or_gradients(kind):
    graph = small_cnn()
    x, y = data(graph, 8)
    plain = engine_of(kind, graph)
    rich = engine_of(kind, graph, fetch=("features", "logits", "conv2"), predict_fetch=("logits", "relu2"))
    assert pass_through(plain, x, y).tobytes() == pass_through(rich, x, y).tobytes()
    assert plain.gradients.flat.tobytes() == rich.gradients.flat.tobytes()
    assert plain.predictor(8)(x)["logits"].tobytes() == rich.predictor(8)(x)["logits"].tobytes()


def test_a_training_forward_and_a_prediction_may_fetch_different_tensors():
    """The lists are shared: whatever an entry point fetches, its planes are those of the other."""
    cases = [("resnet20", (3, 32, 32), "s1b1_relu1"), ("mobilenetv2", (3, 32, 32), None), ("ds_cnn", (1, 49, 10), None)]
    for name, shape, _ in cases:
        graph = build(name, shape, 4)
        for batch in (1, 8):
            for tensor in [n.output for n in graph.nodes if n.op in ("batch_norm", "relu", "relu6", "add")][:12]:
                plan = compile_plan(graph, batch=batch, fetch=(tensor,), predict_fetch=("features",)).program
                ours, theirs = plan["train"]["planes"], plan["predict"]["planes"]
                assert all(ours[n][0] == theirs[n][0] for n in ours), (name, batch, tensor)


def chain(activation):
    """Pointwise convolutions, then one that needs a halo: all on rows of one pitch."""
    g = GraphBuilder("chain", (3, 1, 6))
    x = g.add("normalise", [g.input], name="in", mean=[120.0] * 3, std=[60.0] * 3, pad=0)
    for layer, (kernel, function) in enumerate([([1, 1], activation), ([1, 1], "relu"), ([1, 3], activation)]):
        padding = [0, kernel[1] // 2]
        x = g.add("conv2d", [x], name=f"conv{layer}", out=1, kernel=kernel, padding=padding, stride=[1, 1], bias=False)
        x = g.add(function, [g.add("batch_norm", [x], name=f"norm{layer}")], name=f"act{layer}")
    x = g.add("global_avg_pool", [x], name="pooled")
    return g.build(g.add("linear", [x], name="logits", out=2))


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("activation", ["relu", "hard_swish", "sigmoid", "gelu"])
def test_any_inner_tensor_of_a_chain_is_fetched_at_the_same_predictions(activation, recompute):
    graph = chain(activation)
    x, _ = data(graph, 2)

    def engine(**extras):
        plan = compile_plan(graph, batch=2, recompute=recompute, lanes=1, **extras)
        return kind_engine("native")(Model(graph, np.random.default_rng(SEED)), plan)

    expected = engine().predictor(2)(x)["logits"]
    for tensor in [n.output for n in graph.nodes]:
        for extras in ({"predict_fetch": (tensor,)}, {"fetch": (tensor,), "predict_fetch": ()}):
            assert relative(engine(**extras).predictor(2)(x)["logits"], expected) < 1e-5, (tensor, extras)


def test_the_classifiers_input_follows_from_the_graph_where_no_builder_noted_it():
    g = GraphBuilder("own", (1, 6, 6))
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0], std=[1.0], pad=0)
    x = g.add("relu", [g.add("conv2d", [x], name="conv", out=4, kernel=[3, 3])], name="act")
    x = g.add("global_avg_pool", [x], name="pooled")
    graph = g.build(g.add("linear", [x], name="scores", out=3))
    assert graph.features == "pooled" and graph.tensor("logits") == "scores" and graph.tensor("act") == "act"
    assert build("mlp", (4, 1, 1), 2, hidden=()).features == "flat"


def test_fetched_maps_are_in_the_plans_memory():
    graph = small_cnn()
    plain, rich = planned("native", graph).memory, planned("native", graph, fetch=("logits", "conv1")).memory
    values = 4 * 8 * 8
    assert rich["fetched"] == 2 * 4 * 8 * values and "fetched" not in plain
    assert rich["arena"] >= plain["arena"] + 4 * 8 * values  # the seeded gradient and the value live longer


@pytest.mark.parametrize("kind", ENGINES)
def test_an_unknown_tensor_is_refused_when_planning(kind):
    for extras in ({"fetch": ("feature",)}, {"predict_fetch": ("logit",)}, {"fetch": ("input",)}):
        with pytest.raises(BadInput, match="tensor to fetch"):
            planned(kind, small_cnn(), **extras)


def test_a_tensor_outside_the_plan_is_refused_with_the_option_to_set():
    graph = small_cnn()
    engine = engine_of("native", graph, fetch=("logits", "features"))
    x, _ = data(graph, 4)
    engine.forward({"input": x}, fetch=("features",))
    with pytest.raises(BadInput, match="predict_fetch"):
        engine.forward({"input": x}, fetch=("features",), training=False)
    with pytest.raises(BadInput, match="predict_fetch"):
        engine.predictor(4, fetch=("features",))
    with pytest.raises(BadInput, match=r"fetch=\('conv1',\)"):
        engine.forward({"input": x}, fetch=("conv1",))


@pytest.mark.parametrize("kind", ENGINES)
def test_what_the_forward_did_not_return_cannot_be_seeded(kind):
    graph = small_cnn()
    engine = engine_of(kind, graph, fetch=("logits", "features"))
    engine.forward({"input": data(graph, 2)[0]})
    with pytest.raises(BadInput, match="was not fetched"):
        engine.backward({"features": np.zeros((2, 8), np.float32)})
