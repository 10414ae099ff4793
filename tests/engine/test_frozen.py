"""What is frozen below a node stays as it is and costs no backward pass; what lies above it learns as before."""

import numpy as np
import pytest

from edgecl.compiler import Optimizer, compile_plan, weight_costs
from edgecl.devices import operations
from edgecl.engine import Model
from edgecl.errors import BadInput
from edgecl.graph.builders import build
from edgecl.graph.freeze import freeze_below, keeps_statistics
from edgecl.network import Network
from edgecl.testing.reference_pass import reference_pass

SHAPES = {"resnet20": (3, 8, 8), "resnet18": (3, 8, 8), "mobilenetv2": (3, 16, 16), "ds_cnn": (1, 16, 10),
          "cnn": (1, 12, 12), "kwt_tiny": (1, 16, 8), "gru": (3, 1, 12)}  # fmt: skip
PLACES = [
    ("resnet20", "s2b1_out"), ("resnet20", "s2b1_short"), ("ds_cnn", "b2_point_relu"), ("ds_cnn", "b2_depth"),
    ("ds_cnn", "b2_depth_norm"), ("ds_cnn", "b3_point"), ("cnn", "norm2"), ("cnn", "pooled"), ("kwt_tiny", "b2_norm1"),
    ("gru", "gru1"),
]  # fmt: skip


def pair(name, node, seed=3):
    """(graph, the same frozen below ``node``, model values by name, samples)."""
    options = {"depth": 3} if name == "kwt_tiny" else {}
    graph = build(name, SHAPES[name], 4, input_dtype="float32", **options)
    if node not in {n.name for n in graph.nodes}:
        node = next(n.name for n in graph.nodes if n.op == "gru")
    rng = np.random.default_rng(seed)
    values = {}
    for n, p in Model(graph, rng).parameters.items():
        values[n] = p.values.copy()
        if p.spec.role == "statistic":  # unlike a batch's
            values[n][:] = rng.uniform(0.5, 2, p.living)
    return graph, freeze_below(graph, node), values, rng.normal(size=(6, *graph.input_shape)).astype(np.float32)


def filled(graph, values):
    model = Model(graph, np.random.default_rng(0))
    for name, value in values.items():
        model[name].values[:] = value
    return model


@pytest.mark.parametrize(("name", "node"), PLACES)
def test_above_it_gradients_are_the_references_and_below_it_nothing_moves(engine_factory, name, node):
    _, graph, values, x = pair(name, node)
    model = filled(graph, values)
    engine = engine_factory(graph, model, Optimizer(momentum=0.9), batch=6, predict_batch=6)
    found = engine.forward({"input": x})["logits"]
    seed = np.random.default_rng(1).normal(size=found.shape).astype(np.float32)
    engine.backward({"logits": seed})
    tensors, exact, _ = reference_pass(graph, filled(graph, values), x, seed)
    np.testing.assert_allclose(found, tensors["logits"], atol=2e-4 * np.abs(tensors["logits"]).max())
    trained = [n for n, p in graph.parameters.items() if p.trained]
    for key in trained:
        gradient = exact[key].ravel()
        assert np.abs(engine.gradients[key] - gradient).max() <= 2e-4 * max(np.abs(gradient).max(), 0.05), key
    for _ in range(2):
        engine.step(0.05)
        engine.forward({"input": x})
        engine.backward({"logits": seed})
    still = [n for n, p in graph.parameters.items() if p.frozen]
    assert still and trained
    for key in still:
        np.testing.assert_array_equal(model[key].values, values[key])
    assert all(not np.array_equal(model[key].values, values[key]) for key in trained if np.abs(exact[key]).max() > 1e-6)


@pytest.mark.parametrize(("name", "node"), PLACES)
def test_its_norms_take_their_running_statistics_in_training_too(engine_factory, name, node):
    _, graph, values, x = pair(name, node)
    below = next((n for n in reversed(graph.nodes) if n.op == "batch_norm" and keeps_statistics(graph, n)), None)
    if below is None:
        return
    engine = engine_factory(graph, filled(graph, values), batch=6, predict_batch=6, fetch=("logits", below.output))
    found = [engine.forward({"input": x}, (below.output,), training=t)[below.output] for t in (True, False)]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


def by_hand(graph, samples):
    """(forward, backward) FLOPs: 2 x weights x output positions, twice more behind where something learns, once less
    without a gradient of the weights or of the input."""
    forward = backward = 0
    learns = set()
    for node in graph.nodes:
        behind = any(i in learns for i in node.inputs)
        own = [graph.parameters[p] for p in node.parameters]
        if node.op in ("conv2d", "linear"):
            shape = graph.shapes[node.output]
            flops = 2 * own[0].size * (shape[1] * shape[2] if len(shape) == 3 else 1) * samples
            forward += flops
            backward += flops * (behind + own[0].trained)
        if behind or any(p.trained for p in own):
            learns.add(node.output)
    return forward, backward


COSTS = [("resnet20", "s2b3_out"), ("mobilenetv2", "s4b1_project_norm"), ("resnet18", "s3b2_out")]


@pytest.mark.parametrize(("name", "node"), COSTS)
def test_it_costs_what_is_left_of_the_flops_and_less_memory(engine_factory, name, node):
    whole, graph, values, x = pair(name, node)
    engine = engine_factory(graph, filled(graph, values), batch=6, predict_batch=6)
    engine.forward({"input": x})
    engine.backward({"logits": np.ones((6, 4), np.float32)})
    forward, backward = by_hand(graph, 6)
    assert (engine.meters.forward_flops, engine.meters.backward_flops) == (forward, backward)
    assert backward < by_hand(whole, 6)[1] / 1.3
    plans = [compile_plan(g, batch=6, optimizer=Optimizer(momentum=0.9)) for g in (whole, graph)]
    assert all(plans[1].memory[k] < plans[0].memory[k] for k in ("arena", "parameters", "lists"))


@pytest.mark.parametrize(("name", "node"), COSTS)
def test_the_cost_model_counts_the_same_flops_and_nothing_below(name, node):
    whole, graph, _, _ = pair(name, node)
    forward, backward = by_hand(graph, 6)
    work = [o for o in operations(graph, 6) if o.name in {c.node for c in weight_costs(graph)}]
    assert sum(o.flops for o in work if o.phase == "forward") == forward
    assert sum(o.flops for o in work if o.phase in ("input", "weight")) == backward
    names = [n.name for n in graph.nodes]
    below = set(names[: names.index(node) + 1])
    assert {o.phase for o in operations(graph, 6) if o.name in below} == {"forward"}
    assert {o.phase for o in operations(whole, 6) if o.name in below} > {"forward"}


def test_a_frozen_network_is_another_and_comes_back_from_a_file(tmp_path):
    network = Network(build("cnn", (1, 12, 12), 4))
    frozen = network.frozen_below("pool1")
    assert frozen.digest != network.digest and network.frozen_below(None) is network
    back = Network.load(frozen.save(tmp_path / "m.edgecl"))
    assert back.graph == frozen.graph and back.graph.parameters["conv1.weight"].frozen
    assert frozen.widened(7, np.random.default_rng(0)).graph.parameters["norm1.running_mean"].frozen


def test_what_cannot_be_frozen_is_refused():
    graph = build("cnn", (1, 12, 12), 4)
    with pytest.raises(BadInput, match="pool3"):
        freeze_below(graph, "pool3")
    with pytest.raises(BadInput, match="all that could learn"):
        freeze_below(graph, "logits")
