"""What a plan says its lists and scratch take is what the kernels take."""

import numpy as np
import pytest
from test_plan import NETS

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build
from edgecl.sparsity import make_sparse_training

POINTWISE = ("mobilenetv2", "ds_cnn")  # they also take what is given back after each layer


def after_a_step(net, batch, sparsity, threads):
    """(plan, engine) that has trained on one batch."""
    graph = build(net, NETS[net], 4, input_dtype="float32")
    rng = np.random.default_rng(0)
    model = Model(graph, rng)
    sparse = make_sparse_training(graph, sparsity=sparsity, mask="static")
    plan = compile_plan(
        graph, batch=batch, densities=sparse.max_densities(), optimizer=Optimizer(momentum=0.9), threads=threads
    )
    sparse.setup(model, rng)
    engine = NativeEngine(model, plan)
    engine.forward({"input": rng.normal(size=(batch, *NETS[net])).astype(np.float32)})
    engine.backward({"logits": rng.normal(size=(batch, 4)).astype(np.float32)})
    return plan, engine


@pytest.mark.parametrize("net", [n for n in NETS if n != "resnet18"])
@pytest.mark.parametrize(("batch", "sparsity", "threads"), [(32, 0.0, 1), (8, 0.75, 2), (16, 0.9, 1), (1, 0.9, 2)])
def test_planned_lists_and_scratch_are_those_of_the_kernels(net, batch, sparsity, threads):
    plan, engine = after_a_step(net, batch, sparsity, threads)
    lists, scratch = engine._network.kernel_bytes(), engine._network.scratch_bytes()
    assert abs(plan.memory["lists"] - lists) <= 0.05 * lists + 10_000
    assert scratch <= plan.memory["scratch"] + 20_000
    if net not in POINTWISE:
        assert plan.memory["scratch"] <= scratch + 300_000
