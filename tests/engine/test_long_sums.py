"""A sum of many summands is rounded about as often as the root of their number, not once for each of them."""

import numpy as np
import pytest
from engine_kinds import make_engine
from small_nets import random_pattern

from edgecl.engine import Model
from edgecl.graph import GraphBuilder

CLASSES = 20_000
HALF_BIT = 2.0**-24  # what one rounding changes at most, as a share of the result


@pytest.mark.parametrize("density", [1.0, 0.1])
def test_the_gradient_behind_many_classes_is_as_exact_as_sums_in_parts_are(density):
    """The gradient of the first layer's bias is, for one sample, that of its output: a sum over all classes."""
    g = GraphBuilder("wide", (8,), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 8, std=[1.0] * 8)
    x = g.add("linear", [x], name="first", out=16)
    graph = g.build(g.add("linear", [x], name="logits", out=CLASSES, prunable=True))
    rng = np.random.default_rng(3)
    model = Model(graph, rng)
    if density < 1:
        model["logits.weight"].set_pattern(random_pattern(CLASSES * 16, density, rng))
    engine = make_engine("native", graph, model, batch=1, densities=model.densities())
    engine.forward({graph.input: np.ones((1, 8), np.float32)})
    seed = rng.normal(size=(1, CLASSES)).astype(np.float32)
    engine.backward({"logits": seed})
    exact = seed[0].astype(np.float64) @ model["logits.weight"].dense().reshape(CLASSES, 16).astype(np.float64)
    off = np.sqrt(np.mean((engine.gradients["first.bias"] - exact) ** 2) / np.mean(exact**2))
    assert off <= HALF_BIT * np.sqrt(2 * np.sqrt(density * CLASSES))
