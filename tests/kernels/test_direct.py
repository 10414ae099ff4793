"""Layers of plans that only predict equal a float64 reference, whatever their shape, threads and neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl import _kernels
from edgecl.compiler import compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import GraphBuilder


@st.composite
def layers(draw):
    kind = draw(st.sampled_from(["point", "depth", "any", "grouped", "vector"]))
    groups = draw(st.sampled_from([2, 3])) if kind == "grouped" else draw(st.integers(2, 19)) if kind == "depth" else 1
    per = 1 if kind == "depth" else draw(st.integers(1, 40))
    taps = [1, 1] if kind in ("point", "vector") else [draw(st.sampled_from([1, 2, 3, 5])) for _ in range(2)]
    dilation = [1, 1] if kind == "point" else [draw(st.sampled_from([1, 1, 2])) for _ in range(2)]
    extent = [(t - 1) * d + 1 for t, d in zip(taps, dilation)]
    padding = [0] * 4 if kind in ("point", "vector") else [draw(st.integers(0, extent[i % 2] - 1)) for i in range(4)]
    low = [max(1, e - padding[i] - padding[i + 2]) for i, e in enumerate(extent)]
    size = [1, 1] if kind == "vector" else [draw(st.integers(least, least + 29)) for least in low]
    density = draw(st.sampled_from([1.0, 1.0, 0.3, 0.0]))
    return {
        "in": groups * per,
        "out": groups * (1 if kind == "depth" else draw(st.integers(1, 40))),
        "groups": groups,
        "kernel": taps,
        "stride": [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(2)],
        "padding": padding,
        "dilation": dilation,
        "size": size,
        "batch": draw(st.sampled_from([1, 2, 3, 8, 17] if density == 1 else [1, 2, 3])),
        "threads": draw(st.sampled_from([1, 2, 3])),
        "behind": draw(st.sampled_from(["nothing", "relu6", "norm", "sum"])),
        "density": density,
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def network(c):
    g = GraphBuilder("one", (c["in"], *c["size"]), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * c["in"], std=[1.0] * c["in"], pad=0)
    shape = {k: c[k] for k in ("out", "kernel", "stride", "padding", "dilation", "groups")}
    y = g.add("conv2d", [x], name="conv", bias=True, **shape)
    if c["behind"] == "sum":
        other = g.add("conv2d", [x], name="other", bias=False, **shape)
        y = g.add("relu", [g.add("add", [other, y], name="sum")], name="act")
    if c["behind"] == "norm":
        y = g.add("relu", [g.add("batch_norm", [y], name="norm")], name="act")
    if c["behind"] == "relu6":
        y = g.add("relu6", [y], name="act")
    return g.build(y)


def drawn(graph, rng, density=1.0):
    model = Model(graph, rng)
    for name, p in model.parameters.items():
        if density < 1 and len(p.spec.shape) == 4:
            living = rng.choice(p.spec.size, round(p.spec.size * density), replace=False)
            p.set_pattern(np.sort(living).astype(np.int32))
        p.values[:] = rng.normal(size=p.values.size)
        if name.endswith("running_var"):
            p.values[:] = np.abs(p.values) + 0.5
    return model


def engine_of(graph, model, batch, threads=1):
    densities = {name: p.values.size / p.spec.size for name, p in model.parameters.items()}
    plan = compile_plan(
        graph, batch=batch, predict_batch=batch, threads=threads, densities=densities, trains="none", direct=True
    )
    return NativeEngine(model, plan)


def convolved(c, x, weight):
    """In float64, tap by tap."""
    (top, left, bottom, right), (dy, dx), (sy, sx) = c["padding"], c["dilation"], c["stride"]
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = c["kernel"]
    height = (x.shape[2] - (kh - 1) * dy - 1) // sy + 1
    width = (x.shape[3] - (kw - 1) * dx - 1) // sx + 1
    ins, outs = c["in"] // c["groups"], c["out"] // c["groups"]
    w = weight.reshape(c["groups"], outs, ins, kh, kw).astype(np.float64)
    out = np.zeros((len(x), c["groups"], outs, height, width))
    for i in range(kh):
        for j in range(kw):
            part = x[:, :, i * dy :, j * dx :][:, :, ::sy, ::sx][:, :, :height, :width]
            part = part.reshape(len(x), c["groups"], ins, height, width)
            out += np.einsum("goi,bgihw->bgohw", w[..., i, j], part)
    return out.reshape(len(x), c["out"], height, width)


def expected(c, model, x):
    value = {name: p.dense().astype(np.float64) for name, p in model.parameters.items()}
    y = convolved(c, x, value["conv.weight"]) + value["conv.bias"][:, None, None]
    if c["behind"] == "sum":
        y += convolved(c, x, value["other.weight"])
    if c["behind"] == "norm":
        names = ("scale", "shift", "running_mean", "running_var")
        scale, shift, mean, var = (value[f"norm.{name}"][:, None, None] for name in names)
        y = (y - mean) / np.sqrt(var + 1e-5) * scale + shift
    if c["behind"] == "relu6":
        return np.clip(y, 0, 6)
    return y if c["behind"] == "nothing" else np.maximum(y, 0)


@settings(deadline=None, max_examples=150)
@given(layers())
def test_a_layer_equals_the_reference_and_no_bit_depends_on_threads(c):
    graph = network(c)
    model = drawn(graph, np.random.default_rng(c["seed"]), c["density"])
    x = np.random.default_rng(c["seed"] + 1).normal(size=(c["batch"], c["in"], *c["size"])).astype(np.float32)
    engine = engine_of(graph, model, c["batch"], c["threads"])
    assert engine.plan.program["direct"] and engine._bindings.kernels.kernel_bytes() <= engine.plan.memory["lists"]
    predict = engine.predictor(c["batch"])
    predict(x)
    engine._evaluator.poison()
    found = predict(x)["logits"]
    right = expected(c, model, x).reshape(found.shape)
    assert np.abs(found - right).max() <= 3e-5 * np.abs(right).max(initial=1)
    assert engine_of(graph, model, c["batch"]).predictor(c["batch"])(x)["logits"].tobytes() == found.tobytes()
    few = (c["batch"] + 1) // 2
    assert predict(x[:few])["logits"].shape[0] == few


@settings(deadline=None, max_examples=60)
@given(layers())
def test_the_kernels_take_no_more_scratch_than_planned(c):
    graph = network(c)
    engine = engine_of(graph, drawn(graph, np.random.default_rng(0), c["density"]), c["batch"], c["threads"])
    engine.predictor(c["batch"])(np.zeros((c["batch"], c["in"], *c["size"]), np.float32))
    (session, _), planned = engine._evaluator._opened, engine.plan.memory["scratch"]
    assert session.scratch_bytes <= planned <= 3 * session.scratch_bytes + 1024


def test_only_a_plan_that_trains_nothing_and_asks_for_it_runs_direct():
    graph = network({"in": 8, "out": 8, "groups": 1, "kernel": [1, 1], "stride": [1, 1], "padding": [0] * 4,
                     "dilation": [1, 1], "size": [4, 4], "behind": "nothing"})  # fmt: skip
    assert compile_plan(graph, batch=1, trains="none", direct=True).program["direct"]
    many = {"batch": 8, "densities": {"conv.weight": 0.5}, "trains": "none", "direct": True}  # share a list
    for choices in ({"batch": 1, "trains": "all", "direct": True}, {"batch": 1, "trains": "none"}, many):
        plan = compile_plan(graph, **choices)
        assert not plan.program["direct"] and plan.memory["lists"] > 0


def test_a_network_that_brings_too_few_values_is_refused():
    network_of = _kernels.Network(1, 1)
    network_of.add_weight([4, 4, 1, 1, 1, 1, 0, 0, 1])
    with pytest.raises(ValueError, match="as many values"):
        network_of.build_weight(0, np.zeros(15, np.float32), None, None, None, [1, 1, 0, 0], None, [1, 1], True)
