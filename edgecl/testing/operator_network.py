"""alone: an operator as the one part of a network that matters, on an engine and in its float64 reference."""

from __future__ import annotations

import math

import numpy as np

from ..compiler import Optimizer
from ..engine.model import Model
from ..engine.select import compile_for, make_engine
from ..graph import Graph, GraphBuilder
from ..graph.registry import Operator
from .operator_case import OperatorCase
from .reference_pass import reference_pass

Array = np.ndarray


def network_of(entry: Operator, case: OperatorCase) -> tuple[Graph, Model, Array]:
    """(graph, model, samples float32 [batch, F]): the case's inputs are parts of one vector, each added to a learned
    tensor of zeros, whose gradient is that of the input.
    """
    inputs, params = case.arrays(entry, np.float32)
    flat = [x.reshape(case.batch, -1) for x in inputs] or [np.ones((case.batch, 1), np.float32)]
    x = np.concatenate(flat, 1)
    g = GraphBuilder("alone", (x.shape[1],), "float32")
    vector = g.add("normalise", [g.input], name="in", mean=[0.0] * x.shape[1], std=[1.0] * x.shape[1])
    parts, first = [], 0
    for i, shape in enumerate(case.shapes):
        size = math.prod(shape)
        y = g.add("slice", [vector], name=f"part{i}", start=[first], size=[size], step=[1])
        zeros = g.add("parameter", [], name=f"zeros{i}", shape=[size])
        y = g.add("add", [y, zeros], name=f"learned{i}")
        parts.append(g.add("reshape", [y], name=f"input{i}", shape=list(shape)))
        first += size
    out = g.add(entry.name, parts, name="op", **case.full(entry))
    if not parts:  # a parameter alone depends on no sample
        y = g.add("reshape", [vector], name="one", shape=[1] * len(g.shapes[out]))
        out = g.add("mul", [out, y], name="used")
    out = g.add("reshape", [out], name="row", shape=[math.prod(g.shapes[out])])
    graph = g.build(g.add("linear", [out], name="logits", out=3))
    model = Model(graph, np.random.default_rng(case.seed))
    for local in case.specs(entry):
        model[f"op.{local}"].values[:] = params[local].ravel()
    return graph, model, x


def difference_alone(entry: Operator, case: OperatorCase, kind: str) -> str:
    """What differs between the engine ``kind`` and the operators' float64 references, in words; empty: nothing."""
    graph, model, x = network_of(entry, case)
    choices = {"batch": case.batch, "predict_batch": case.batch, "densities": {}, "threads": 1}
    engine = make_engine(model, compile_for(kind, graph, optimizer=Optimizer(), **choices), kind)  # type: ignore[arg-type]
    found = engine.forward({graph.input: x})["logits"]
    seed = np.random.default_rng(case.seed).normal(size=found.shape).astype(np.float32)
    engine.backward({"logits": seed})
    tensors, exact, stats = reference_pass(graph, model, x, seed)
    if any((s["var"] < 1e-3 + 0.01 * s["mean"] ** 2).any() for s in stats.values()):
        return ""  # values so close together that normalising them loses most digits
    singles, single, _ = reference_pass(graph, model, x, seed, dtype=np.float32)
    if not agrees(found, tensors["logits"], singles["logits"]):
        return "what comes out"
    for key, gradient in exact.items():
        if model[key].spec.trained and not agrees(engine.gradients[key], gradient.ravel(), single[key].ravel()):
            return f"the gradient of {'an input' if key.startswith('zeros') else key.rpartition('.')[2]}"
    predicted = engine.predictor(case.batch)(x)["logits"]
    same = np.allclose(predicted, engine.forward({graph.input: x}, training=False)["logits"], atol=1e-5)
    return "" if same else "the prediction"


def agrees(ours: Array, exact: Array, single: Array) -> bool:
    """Near the largest value, or near one where sums cancel; as many digits lost as float32 loses."""
    limit = 1e-5 * max(np.abs(exact).max(initial=0), 0.5) + 8 * np.abs(single - exact).max(initial=0)
    return bool(np.abs(ours - exact).max(initial=0) <= limit)
