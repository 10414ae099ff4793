"""Max pooling sends the gradient to the first of equal values in every layout; small batches have their own loops."""

import numpy as np
import pytest
from test_layers import convolution

from edgecl.compiler import compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import GraphBuilder


def first_maximum(y):
    """Of 2x2 windows: values, and where each lies as a 0/1 map of y."""
    b, c, h, w = y.shape
    cut = y[:, :, : h // 2 * 2, : w // 2 * 2].reshape(b, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    cut = cut.reshape(b, c, h // 2, w // 2, 4)
    chosen = np.eye(4)[cut.argmax(axis=-1)]  # argmax takes the first
    return cut.max(axis=-1), chosen


def spread(values, chosen, shape):
    """values to the chosen places of maps of ``shape``."""
    b, c, h, w = values.shape
    placed = (values[..., None] * chosen).reshape(b, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    out = np.zeros(shape)
    out[:, :, : 2 * h, : 2 * w] = placed.reshape(b, c, 2 * h, 2 * w)
    return out


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 34), (5, 2)])
def test_whole_numbers_pool_to_the_bit_and_the_first_of_equals_gets_the_gradient(batch, size):
    rng = np.random.default_rng(3)
    g = GraphBuilder("pool", (2, *size), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * 2, std=[1.0] * 2, pad=0)
    x = g.add("conv2d", [x], name="conv", out=5, kernel=[3, 3], padding=[1, 1], bias=False)
    graph = g.build(g.add("max_pool", [x], name="pool", kernel=[2, 2], stride=[2, 2]))
    model = Model(graph, rng)
    weights = rng.integers(-1, 2, model["conv.weight"].spec.shape).astype(np.float32)
    model["conv.weight"].values[:] = weights.ravel()
    engine = NativeEngine(model, compile_plan(graph, batch=batch))
    x = rng.integers(-1, 2, (batch, 2, *size)).astype(np.float32)

    y = convolution(x, weights, (1, 1), (1, 1), 1)
    wanted, chosen = first_maximum(y)
    got = engine.forward({graph.input: x})["logits"]
    assert np.array_equal(got.reshape(wanted.shape), wanted)

    seed = rng.integers(-3, 4, wanted.shape).astype(np.float32)
    engine.backward({"logits": seed.reshape(got.shape)})
    dy, padded = spread(seed, chosen, y.shape), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for a in range(3):
        for b in range(3):
            taken = padded[:, :, a : a + size[0], b : b + size[1]]
            gradient = np.einsum("bohw,bihw->oi", dy, taken)
            assert np.array_equal(engine.gradients["conv.weight"].reshape(weights.shape)[:, :, a, b], gradient)
