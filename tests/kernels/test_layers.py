"""One layer at a time against float64: ugly shapes, empty rows, all masked, all dense, unaligned, ragged batch."""

import numpy as np
import pytest

from edgecl import _kernels
from edgecl.compiler import compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import GraphBuilder

# (input channels, height, width), output channels, kernel, stride, padding, groups, batch
UGLY = {
    "window": ((6, 1, 128), 9, (1, 5), (1, 1), (0, 2), 1, 16),
    "window, stride": ((5, 1, 37), 7, (1, 9), (1, 4), (0, 4), 1, 3),
    "7x7": ((17, 7, 7), 13, (3, 3), (1, 1), (1, 1), 1, 9),
    "7x7 to 4x4": ((13, 7, 7), 17, (3, 3), (2, 2), (1, 1), 1, 9),
    "keywords": ((1, 49, 10), 11, (10, 4), (2, 2), (4, 1), 1, 5),
    "one pixel": ((67, 1, 1), 10, (1, 1), (1, 1), (0, 0), 1, 33),
    "one column": ((3, 31, 1), 5, (3, 1), (1, 1), (1, 0), 1, 6),
    "prime": ((3, 29, 23), 5, (5, 3), (3, 2), (2, 1), 1, 7),
    "224": ((3, 224, 224), 4, (7, 7), (2, 2), (3, 3), 1, 1),
    "depthwise": ((19, 15, 13), 19, (3, 3), (2, 1), (1, 1), 19, 4),
    "groups": ((12, 9, 9), 8, (3, 3), (1, 1), (1, 1), 4, 4),
    "no padding": ((4, 6, 6), 4, (5, 5), (1, 1), (0, 0), 1, 2),
}


def convolution(x, w, stride, padding, groups):
    """float64 [B, out, H, W] by taps."""
    kh, kw = w.shape[2:]
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    h, v = (x.shape[2] - kh) // stride[0] + 1, (x.shape[3] - kw) // stride[1] + 1
    per_in, per_out = w.shape[1], w.shape[0] // groups
    y = np.zeros((len(x), w.shape[0], h, v))
    for g in range(groups):
        xs, ws = x[:, g * per_in : (g + 1) * per_in], w[g * per_out : (g + 1) * per_out].astype(np.float64)
        for a in range(kh):
            for b in range(kw):
                taken = xs[
                    :, :, a : a + (h - 1) * stride[0] + 1 : stride[0], b : b + (v - 1) * stride[1] + 1 : stride[1]
                ]
                y[:, g * per_out : (g + 1) * per_out] += np.einsum("bihw,oi->bohw", taken, ws[:, :, a, b])
    return y


def layer(case, pattern=None, threads=2, lanes=None, batch=None):
    """A per-channel gain (so that there is an input gradient to look at), then the convolution."""
    shape, out, kernel, stride, padding, groups, rows = case
    g = GraphBuilder("layer", shape, "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * shape[0], std=[1.0] * shape[0], pad=0)
    x = g.add("conv2d", [x], name="gain", out=shape[0], kernel=[1, 1], groups=shape[0], bias=False)
    y = g.add(
        "conv2d", [x], name="conv", out=out, kernel=list(kernel), stride=list(stride), padding=list(padding),
        groups=groups, bias=False,
    )  # fmt: skip
    graph = g.build(y)
    model = Model(graph, np.random.default_rng(5))
    if pattern is not None:
        model["conv.weight"].set_pattern(pattern(model["conv.weight"].spec))
    plan = compile_plan(graph, batch=batch or rows, threads=threads, lanes=lanes, fetch=["gain"])
    return model, NativeEngine(model, plan)


def half(spec):
    return np.flatnonzero(np.random.default_rng(6).random(spec.size) < 0.4).astype(np.int32)


def some_rows(spec):
    """No weight in the even output channels nor from the first input channel."""
    alive = np.ones(spec.shape, bool)
    alive[::2] = False
    alive[:, 0] = False
    return np.flatnonzero(alive).astype(np.int32)


def nothing(spec):
    return np.zeros(0, np.int32)


def everything(spec):
    return np.arange(spec.size, dtype=np.int32)


PATTERNS = {"dense": None, "40 %": half, "empty rows": some_rows, "all masked": nothing, "all listed": everything}


def assert_close(ours, exact, size):
    """To 1e-5 of the largest value, or of a tenth of the largest sum of magnitudes where sums cancel."""
    scale = max(np.abs(exact).max(initial=0), 0.1 * size.max(initial=0), 1e-30)
    assert np.abs(ours - exact).max(initial=0) <= 1e-5 * scale


def check(case, model, engine, rows):
    shape, _, kernel, stride, padding, groups, _ = case
    rng = np.random.default_rng(8)
    x = rng.normal(size=(rows, *shape)).astype(np.float32)
    engine._session.poison()
    found = engine.forward({"input": x}, fetch=["logits", "gain"])
    weight, inner = model["conv.weight"], found["gain"]
    w = weight.dense()
    exact = convolution(inner, w, stride, padding, groups)
    assert_close(found["logits"], exact, convolution(np.abs(inner), np.abs(w), stride, padding, groups))
    seed = rng.normal(size=exact.shape).astype(np.float32)
    engine.backward({"logits": seed})
    # By linearity: the gradient along a direction is the output's product with the seed.
    pattern = weight.pattern if weight.pattern is not None else np.arange(weight.spec.size)
    kh, kw = kernel
    padded = np.pad(inner.astype(np.float64), ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    h, v = exact.shape[2:]
    per_in, per_out = weight.spec.shape[1], weight.spec.shape[0] // groups
    dw, size = np.zeros(weight.spec.shape), np.zeros(weight.spec.shape)
    dx, dx_size = np.zeros_like(padded), np.zeros_like(padded)
    for g in range(groups):
        into, out = slice(g * per_in, (g + 1) * per_in), slice(g * per_out, (g + 1) * per_out)
        for a in range(kh):
            for b in range(kw):
                ys = slice(a, a + (h - 1) * stride[0] + 1, stride[0])
                xs = slice(b, b + (v - 1) * stride[1] + 1, stride[1])
                taken, s = padded[:, into, ys, xs], seed[:, out].astype(np.float64)
                dw[out, :, a, b] = np.einsum("bohw,bihw->oi", s, taken)
                size[out, :, a, b] = np.einsum("bohw,bihw->oi", np.abs(s), np.abs(taken))
                dx[:, into, ys, xs] += np.einsum("bohw,oi->bihw", s, w[out, :, a, b])
                dx_size[:, into, ys, xs] += np.einsum("bohw,oi->bihw", np.abs(s), np.abs(w[out, :, a, b]))
    assert_close(engine.gradients["conv.weight"], dw.ravel()[pattern], size)
    inside = (
        slice(None),
        slice(None),
        slice(padding[0], padding[0] + shape[1]),
        slice(padding[1], padding[1] + shape[2]),
    )
    gain = (dx[inside] * x).sum((0, 2, 3))
    assert_close(engine.gradients["gain.weight"], gain, (dx_size[inside] * np.abs(x)).sum((0, 2, 3)))


@pytest.mark.parametrize("name", UGLY)
@pytest.mark.parametrize("density", PATTERNS)
def test_a_layer_equals_float64(name, density):
    case = UGLY[name]
    check(case, *layer(case, PATTERNS[density]), case[-1])


@pytest.mark.parametrize("lanes", _kernels.lanes())
@pytest.mark.parametrize("rows", [1, 2, 5, 15, 16, 17, 31])
def test_a_ragged_batch_equals_the_unpadded_one(lanes, rows):
    case = UGLY["7x7 to 4x4"]
    check(case, *layer(case, half, lanes=lanes, batch=33), rows)


def test_empty_rows_are_zero_and_their_inputs_get_no_gradient():
    case = UGLY["7x7"]
    _, engine = layer(case, some_rows)
    x = np.ones((9, *case[0]), np.float32)
    engine._session.poison()
    logits = engine.forward({"input": x})["logits"]
    assert np.all(logits[:, ::2] == 0) and np.all(logits[:, 1::2] != 0)
    engine.backward({"logits": np.ones_like(logits)})
    assert engine.gradients["gain.weight"][0] == 0 and np.all(engine.gradients["gain.weight"][1:] != 0)


def test_a_full_list_gives_the_bits_of_a_dense_tensor():
    case = UGLY["7x7"]
    found = []
    for pattern in (None, everything):
        _, engine = layer(case, pattern)
        x = np.random.default_rng(1).normal(size=(9, *case[0])).astype(np.float32)
        logits = engine.forward({"input": x})["logits"]
        engine.backward({"logits": logits})
        found.append((logits.tobytes(), engine.gradients.flat.tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("offset", [1, 3, 7])
def test_input_and_seed_may_lie_anywhere_in_memory(offset):
    case = UGLY["prime"]
    rng = np.random.default_rng(2)
    x = rng.normal(size=(7, *case[0])).astype(np.float32)
    found = []
    for shift in (0, offset):
        _, engine = layer(case, half)
        moved = np.empty(x.size + 16, np.float32)[shift : shift + x.size].reshape(x.shape)
        moved[:] = x
        logits = engine.forward({"input": moved})["logits"]
        seed = np.empty(logits.size + 16, np.float32)[shift : shift + logits.size].reshape(logits.shape)
        seed[:] = np.cos(logits)
        engine.backward({"logits": seed})
        found.append((logits.tobytes(), engine.gradients.flat.tobytes()))
    _, engine = layer(case, half)
    strided = np.repeat(x, 2, axis=3)[..., ::2]
    found.append((engine.forward({"input": strided})["logits"].tobytes(), found[0][1]))
    assert found[0] == found[1] == found[2]
