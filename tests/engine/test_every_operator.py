"""Every operator of the registry alone in a network, at random shapes, equals the float64 reference: on each engine,
forward, the gradient of its inputs (through what made them) and of its parameters.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_run import reference_pass

sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
from operator_cases import cases

from edgecl.compiler import Optimizer
from edgecl.engine import Model
from edgecl.graph import GraphBuilder, operators

NAMES = sorted(set(operators()) - {"normalise", "dropout"})  # those stand in every graph, or draw at random
FEW = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))


def network(case):
    """(graph, model, samples): the case's inputs are parts of one vector, each added to a learned tensor of zeros."""
    inputs, params = case.arrays(np.float32)
    flat = [x.reshape(case.batch, -1) for x in inputs] or [np.ones((case.batch, 1), np.float32)]
    x = np.concatenate(flat, 1)
    g = GraphBuilder("alone", (x.shape[1],), "float32")
    vector = g.add("normalise", [g.input], name="in", mean=[0.0] * x.shape[1], std=[1.0] * x.shape[1])
    parts, first = [], 0
    for i, shape in enumerate(case.shapes):
        size = int(np.prod(shape))
        y = g.add("slice", [vector], name=f"part{i}", start=[first], size=[size], step=[1])
        zeros = g.add("parameter", [], name=f"zeros{i}", shape=[size])
        y = g.add("add", [y, zeros], name=f"learned{i}")
        parts.append(g.add("reshape", [y], name=f"input{i}", shape=list(shape)))
        first += size
    out = g.add(case.op, parts, name="op", **case.attributes)
    if not parts:  # a parameter alone depends on no sample
        y = g.add("reshape", [vector], name="one", shape=[1] * len(g.shapes[out]))
        out = g.add("mul", [out, y], name="used")
    out = g.add("reshape", [out], name="row", shape=[int(np.prod(g.shapes[out]))])
    graph = g.build(g.add("linear", [out], name="logits", out=3))
    model = Model(graph, np.random.default_rng(case.seed))
    for local, value in params.items():
        model[f"op.{local}"].values[:] = value.ravel()
    return graph, model, x


def agrees(ours, exact, single):
    """Near the largest value, or near one where sums cancel; as many digits lost as float32 loses."""
    limit = 1e-5 * max(np.abs(exact).max(initial=0), 0.5) + 8 * np.abs(single - exact).max(initial=0)
    return np.abs(ours - exact).max(initial=0) <= limit


@pytest.mark.parametrize("name", NAMES)
def test_an_operator_alone_equals_its_float64_reference(engine_factory, name):
    @FEW
    @given(st.data())
    def check(data):
        case = data.draw(cases(name))
        graph, model, x = network(case)
        engine = engine_factory(graph, model, Optimizer(), batch=case.batch, predict_batch=case.batch)
        found = engine.forward({"input": x})["logits"]
        seed = np.random.default_rng(case.seed).normal(size=found.shape).astype(np.float32)
        engine.backward({"logits": seed})
        tensors, exact, stats = reference_pass(graph, model, x, seed)
        if any((s["var"] < 1e-3 + 0.01 * s["mean"] ** 2).any() for s in stats.values()):
            return  # values so close together that normalising them loses most digits
        singles, single, _ = reference_pass(graph, model, x, seed, dtype=np.float32)
        assert agrees(found, tensors["logits"], singles["logits"])
        for key, gradient in exact.items():
            if model[key].spec.trained:
                assert agrees(engine.gradients[key], gradient.ravel(), single[key].ravel()), key
        predicted = engine.predictor(case.batch)(x)["logits"]
        assert np.allclose(predicted, engine.forward({"input": x}, training=False)["logits"], atol=1e-5)

    check()
