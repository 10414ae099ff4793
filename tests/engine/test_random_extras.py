"""On random graphs: what a plan fetches, trains or keeps beside the model never changes what it computes."""

import numpy as np
from engine_kinds import make_engine, make_plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import graph_cases
from small_nets import random_pattern, relative, seed_gradient

from edgecl.compiler.extras import trained_parameters
from edgecl.errors import BadInput

RANDOM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def some(data, graph):
    return tuple(data.draw(st.lists(st.sampled_from([n.output for n in graph.nodes]), unique=True, max_size=4)))


@RANDOM
@given(graph_cases(dropout=False), st.data())
def test_whatever_is_fetched_the_lists_fit_both_passes_and_predictions_stay(case, data):
    graph, sizes = case.graph, {"batch": case.samples, "predict_batch": case.samples}
    x, _ = case.data()
    fetch, predict_fetch = some(data, graph), some(data, graph)
    plain = make_engine("native", graph, case.model(), **sizes)
    rich = make_engine("native", graph, case.model(), fetch=fetch, predict_fetch=predict_fetch, **sizes)
    program = rich.plan.program
    for name, (plane, _) in program["train"]["planes"].items():
        assert program["predict"]["planes"][name][0] == plane
    expected = plain.predictor(case.samples)(x)["logits"]
    found = rich.predictor(case.samples, fetch=("logits", *predict_fetch))(x)
    assert relative(found["logits"], expected) < 1e-4  # an inner tensor parts what runs as one: other roundings
    again = rich.forward({graph.input: x}, fetch=("logits", *predict_fetch), training=False)
    assert all(again[name].tobytes() == values.tobytes() for name, values in found.items())
    rich.forward({graph.input: x}, fetch=("logits", *fetch))


@RANDOM
@given(graph_cases(dropout=False))
def test_fetching_features_changes_no_bit(case):
    graph, sizes = case.graph, {"batch": case.samples, "predict_batch": case.samples}
    x, y = case.data()
    bits = []
    for fetch in ((), ("features",)):
        engine = make_engine("native", graph, case.model(), fetch=fetch, **sizes)
        logits = engine.forward({graph.input: x})["logits"]
        engine.backward({"logits": seed_gradient(logits, y)})
        predicted = engine.predictor(case.samples)(x)["logits"]
        bits.append((logits.tobytes(), engine.gradients.flat.tobytes(), predicted.tobytes()))
    assert bits[0] == bits[1]


@RANDOM
@given(graph_cases(dropout=False), st.integers(0, 10**6))
def test_a_side_predicts_what_it_was_copied_from(case, seed):
    graph, rng = case.graph, np.random.default_rng(seed)
    x, _ = case.data()
    engine = make_engine("native", graph, case.model(), batch=case.samples, predict_batch=case.samples, sides=("old",))
    engine.side("old").copy_from(engine.model)
    then = engine.forward({graph.input: x}, training=False)["logits"]
    for node in graph.nodes:
        if node.op in ("conv2d", "linear"):
            p = engine.model[node.parameters[0]]
            engine.set_pattern(p.spec.name, random_pattern(p.spec.size, rng.uniform(), rng))
            p.values[:] = rng.normal(size=p.living)
    engine._evaluator.poison()
    side = engine.side("old")
    assert engine.forward({graph.input: x}, training=False, params=side)["logits"].tobytes() == then.tobytes()
    engine.replan(
        make_plan("native", graph, batch=case.samples, predict_batch=case.samples, trains="none", sides=("old",))
    )
    assert engine.predictor(case.samples, side="old")(x)["logits"].tobytes() == then.tobytes()


@RANDOM
@given(graph_cases(dropout=False))
def test_training_the_head_is_a_linear_layer_on_the_features(case):
    graph, model = case.graph, case.model()
    x, _ = case.data()
    try:
        head = trained_parameters(graph, "head")
    except BadInput:
        return
    engine = make_engine(
        "native", graph, model, batch=case.samples, predict_batch=case.samples, trains="head", fetch=("features",)
    )
    outs = engine.forward({graph.input: x}, fetch=("logits", "features"))
    expected = engine.predictor(case.samples, fetch=("features", "logits"))(x)
    assert relative(outs["features"], expected["features"]) < 1e-6
    assert relative(outs["logits"], expected["logits"]) < 1e-5
    seed = np.random.default_rng(0).normal(size=outs["logits"].shape).astype(np.float32)
    before = engine.snapshot()
    engine.backward({"logits": seed})
    node = next(n for n in graph.nodes if n.output == graph.logits)
    if node.op == "linear" and node.inputs[0] == graph.features:
        p = model[node.parameters[0]]
        mask = np.zeros(p.living, np.float32)
        mask[slice(None) if p.gradient_subset is None else p.gradient_subset] = not p.frozen
        dense = (seed.T @ outs["features"]).ravel()
        found = engine.gradients[p.spec.name]
        assert np.abs(found - mask * (dense if p.pattern is None else dense[p.pattern])).max(initial=0) <= (
            1e-5 * np.abs(dense).max(initial=1)
        )
    engine.step(0.1)
    assert all(before[n].tobytes() == p.values.tobytes() for n, p in model.parameters.items() if n not in head)
