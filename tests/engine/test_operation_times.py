"""Operation times name every operation of the program and count the work of a layer as the plan does."""

import numpy as np

from edgecl.compiler import compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.engine.profile import operation_times
from edgecl.graph.builders import build


def test_times_cover_the_program_and_its_multiplications():
    rng = np.random.default_rng(0)
    graph = build("resnet20", (3, 32, 32), 10, input_dtype="float32")
    model = Model(graph, rng)
    name = next(n for n in graph.nodes if n.name == "s2b1_conv1").parameters[0]
    model[name].set_pattern(np.sort(rng.choice(model[name].spec.size, 100, replace=False)))
    engine = NativeEngine(model, compile_plan(graph, batch=4))
    engine.set_gradient_mask(name, np.arange(0, 100, 5))
    before = operation_times(engine)
    logits = engine.forward({graph.input: np.zeros((4, 3, 32, 32), np.float32)})["logits"]
    engine.backward({"logits": np.ones_like(logits)})
    times = operation_times(engine)

    program = engine.plan.program["train"]
    assert len(times) == len(program["forward"]) + len(program["backward"])
    assert all(a.seconds >= b.seconds for a, b in zip(times, before))
    assert sum(t.seconds for t in times) > sum(t.seconds for t in before)
    layer = {t.kind: t for t in times if t.node == "s2b1_conv1"}
    assert layer["conv"].macs == layer["conv_input"].macs == 100 * 16 * 16
    assert layer["conv_weight"].macs == 20 * 16 * 16
    assert layer["conv"].map == (32, 16, 16) and layer["conv_input"].map == (16, 32, 32)
    assert 2 * sum(t.macs for t in times) * 4 == engine.meters.forward_flops + engine.meters.backward_flops
