"""What a plan says of sides, arrays per weight and of training less than everything is what is held."""

import numpy as np
import pytest
from test_plan import NETS

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build
from edgecl.sparsity import make_sparse_training

OPTIMIZER = Optimizer(momentum=0.9)
nets = pytest.mark.parametrize("net", [n for n in NETS if n != "resnet18"])


def engine_of(net, sparsity, batch=8, **extras):
    graph, rng = build(net, NETS[net], 4, input_dtype="float32"), np.random.default_rng(0)
    sparse = make_sparse_training(graph, sparsity=sparsity, mask="static")
    model = Model(graph, rng, sparse.prune)
    densities = sparse.max_densities()
    plan = compile_plan(graph, batch=batch, densities=densities, optimizer=OPTIMIZER, **extras)
    return plan, NativeEngine(model, plan), rng.normal(size=(batch, *NETS[net])).astype(np.float32)


@nets
@pytest.mark.parametrize("trains", ["all", "head", "none"])
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_what_is_not_trained_takes_nothing(net, trains, sparsity):
    plan, engine, x = engine_of(net, sparsity, trains=trains)
    if trains != "none":
        logits = engine.forward({"input": x})["logits"]
        engine.backward({"logits": logits})
        engine.step(0.01)
    engine.predictor(8)(x)
    ps = engine.model.parameters.values()
    arrays = [a for p in ps for a in (p.values, p.pattern, *p.moments.values()) if a is not None]
    held = sum(a.nbytes for a in arrays) + engine.gradients.flat.nbytes
    lists, scratch = engine._network.kernel_bytes(), engine._network.scratch_bytes()
    assert abs(plan.memory["parameters"] - held) <= 0.02 * held + 2000
    assert abs(plan.memory["lists"] - lists) <= 0.05 * lists + 10_000
    assert scratch <= plan.memory["scratch"] + 20_000


@nets
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_a_side_takes_what_the_plan_says(net, sparsity):
    plan, engine, x = engine_of(net, sparsity, sides=("old", "ema"), per_weight=("fisher",))
    for name in ("old", "ema"):
        side = engine.side(name)
        side.copy_from(engine.model)
        for p in side.parameters.values():  # as after the model's patterns moved on
            p.pattern = None if p.pattern is None else p.pattern.copy()
        engine.forward({"input": x}, params=side)
    held = engine._evaluator.side_bytes()
    for name in ("old", "ema"):
        for p in engine.side(name).parameters.values():
            held += p.values.nbytes + (0 if p.pattern is None else p.pattern.nbytes)
    assert abs(plan.memory["sides"] - held) <= 0.05 * held + 10_000
    flat = engine.per_weight("fisher").flat.nbytes
    assert abs(plan.memory["per_weight"] - flat) <= 0.01 * flat + 1000


@nets
def test_declaring_nothing_changes_no_number_of_a_plan(net):
    graph = build(net, NETS[net], 4)
    plain = compile_plan(graph, batch=8)
    assert set(plain.memory) == {"arena", "predict_arena", "parameters", "lists", "scratch"}
    rich = compile_plan(graph, batch=8, sides=("a",), per_weight=("f",), gradient_copies=1)
    assert {k: rich.memory[k] for k in plain.memory} == dict(plain.memory)
    assert rich.program["train"] == plain.program["train"] and rich.program["predict"] == plain.program["predict"]
    least = compile_plan(graph, batch=8, trains="none")
    assert least.program["predict"] == plain.program["predict"] and least.bytes < plain.bytes
