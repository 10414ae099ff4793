"""Small networks and data for the engine tests."""

import numpy as np

from edgecl.engine import Model
from edgecl.graph import GraphBuilder
from edgecl.graph.builders import build

SEED = 7


def small_cnn(norm="batch", dropout=0.0):
    """Convolutions, normalisation, pooling; 8x8 grey images, 4 classes."""
    return build("cnn", (1, 8, 8), 4, widths=(4, 6, 8), norm=norm, dropout=dropout)


def small_mlp(norm="none", dropout=0.0):
    return build("mlp", (2, 3, 3), 3, hidden=(10, 7), norm=norm, dropout=dropout)


def residual():
    """A residual block with a projection, a strided and a depthwise convolution; 7x5 colour images."""
    g = GraphBuilder("residual", (3, 7, 5))
    x = g.add("normalise", [g.input], name="input_norm", mean=[120.0] * 3, std=[60.0] * 3, pad=1)
    x = g.add("conv2d", [x], name="stem", out=6, kernel=[3, 3], padding=[1, 1])
    x = g.add("relu6", [g.add("batch_norm", [x], name="stem_norm")], name="stem_relu")
    y = g.add("conv2d", [x], name="conv", out=8, kernel=[3, 3], stride=[2, 2], padding=[1, 1], prunable=True)
    y = g.add("relu", [g.add("batch_norm", [y], name="conv_norm")], name="conv_relu")
    y = g.add("conv2d", [y], name="depth", out=8, kernel=[3, 3], padding=[1, 1], groups=8)
    y = g.add("batch_norm", [y], name="depth_norm")
    z = g.add("conv2d", [x], name="short", out=8, kernel=[1, 1], stride=[2, 2])
    z = g.add("batch_norm", [z], name="short_norm")
    x = g.add("relu", [g.add("add", [y, z], name="sum")], name="out")
    x = g.add("global_avg_pool", [x], name="pooled")
    return g.build(g.add("linear", [x], name="logits", out=3))


def data(graph, n, seed=0):
    """(x uint8 [n, ...], y int64 [n])"""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *graph.input_shape), dtype=np.uint8)
    return x, rng.integers(0, graph.classes, n)


def sparse_model(graph, density=0.3, seed=SEED):
    """A model whose prunable tensors live at ``density``."""
    model = Model(graph, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    for name in graph.prunable():
        model[name].set_pattern(random_pattern(model[name].spec.size, density, rng))
    return model


def random_pattern(size, density, rng):
    count = max(1, round(size * density))
    return np.sort(rng.choice(size, count, replace=False)).astype(np.int32)


def seed_gradient(logits, y):
    """Gradient of the mean cross-entropy with respect to the logits, float32."""
    z = np.exp(logits - logits.max(1, keepdims=True)).astype(np.float64)
    z /= z.sum(1, keepdims=True)
    z[np.arange(len(y)), y] -= 1
    return (z / len(y)).astype(np.float32)


def pass_through(engine, x, y):
    """One training forward and backward; returns the logits."""
    logits = engine.forward({"input": x})["logits"]
    engine.backward({"logits": seed_gradient(logits, y)})
    return logits


def train(engine, x, y, steps=3, lr=0.1):
    for _ in range(steps):
        pass_through(engine, x, y)
        engine.step(lr)


def same_state(a, b):
    return set(a) == set(b) and all(a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a)


def relative(a, b):
    """Largest difference over the largest value."""
    return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-12))
