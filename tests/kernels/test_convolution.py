"""The fast convolution equals the plain reference, over ugly shapes, masks and batches."""

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
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depthwise = draw(st.booleans())
    per_group = 1 if depthwise else draw(st.integers(1, 9))
    kernel = [draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 2, 3, 5]))]
    padding = [draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))]
    return {
        "in": groups * per_group,
        "out": groups * draw(st.integers(1, 9)),
        "groups": groups,
        "kernel": kernel,
        "stride": [draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))],
        "padding": padding,
        "height": draw(st.integers(max(1, kernel[0] - 2 * padding[0]), 19)),
        "width": draw(st.integers(max(1, kernel[1] - 2 * padding[1]), 19)),
        "batch": draw(st.sampled_from([1, 2, 3, 5, 8, 13, 17, 33])),
        "density": draw(st.sampled_from([0.0, 0.05, 0.3, 1.0])),
        "lanes": draw(st.sampled_from(_kernels.lanes())),
        "threads": draw(st.sampled_from([1, 2, 3])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def one_layer(c):
    """Two convolutions, so that the second one has an input gradient; the first is 1x1 and makes its input."""
    rng = np.random.default_rng(c["seed"])
    g = GraphBuilder("one", (c["in"], c["height"], c["width"]), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * c["in"], std=[1.0] * c["in"], pad=0)
    x = g.add(
        "conv2d", [x], name="first", out=c["in"], kernel=[1, 1], stride=[1, 1], padding=[0, 0], groups=1, bias=False
    )
    y = g.add(
        "conv2d",
        [x],
        name="conv",
        out=c["out"],
        kernel=c["kernel"],
        stride=c["stride"],
        padding=c["padding"],
        groups=c["groups"],
        bias=False,
    )
    graph = g.build(y)
    model = Model(graph, rng)
    p = model["conv.weight"]
    if c["density"] < 1:
        keep = np.flatnonzero(rng.random(p.spec.size) < c["density"]).astype(np.int32)
        p.set_pattern(keep)
    plan = compile_plan(graph, batch=c["batch"], threads=c["threads"], lanes=c["lanes"], fetch=["first"])
    return graph, model, NativeEngine(model, plan), rng


def close(ours, reference, scale=0.0):
    scale = max(np.abs(reference).max(initial=0), scale, 1e-6)
    assert np.abs(ours - reference).max(initial=0) <= 1e-5 * scale


@given(convolutions())
@settings(deadline=None, max_examples=120)
def test_forward_and_both_gradients_equal_the_reference(c):
    _, model, engine, rng = one_layer(c)
    x = rng.normal(size=(c["batch"], c["in"], c["height"], c["width"])).astype(np.float32)
    engine._session.poison()
    out = engine.forward({"input": x}, fetch=["logits", "first"])
    geometry = [c["out"], c["in"], *c["kernel"], *c["stride"], *c["padding"], c["groups"]]
    weight = np.ascontiguousarray(model["conv.weight"].dense())
    inner = out["first"]
    seed = rng.normal(size=out["logits"].shape).astype(np.float32)
    # Sums that cancel are exact to the size of their summands, so those set the scale.
    size = np.asarray(_kernels.reference_conv_forward(geometry, np.abs(inner), np.abs(weight)))
    dx_size, dw_size = _kernels.reference_conv_backward(geometry, np.abs(inner), np.abs(weight), np.abs(seed))
    close(out["logits"], _kernels.reference_conv_forward(geometry, inner, weight), 0.1 * size.max(initial=0))
    engine.backward({"logits": seed})
    dx, dw = _kernels.reference_conv_backward(geometry, inner, weight, seed)
    dw = np.asarray(dw).ravel()
    pattern = model["conv.weight"].pattern
    scale = 0.1 * np.asarray(dw_size).max(initial=0)
    close(engine.gradients["conv.weight"], dw if pattern is None else dw[pattern], scale)
    # The 1x1 layer's weight gradient is made of the input gradient: dW[o, i] = sum dx[o] x[i].
    scale = 0.1 * np.einsum("bohw,bihw->oi", np.asarray(dx_size, np.float64), np.abs(x)).max()
    ours = engine.gradients["first.weight"].reshape(c["in"], c["in"])
    close(ours, np.einsum("bohw,bihw->oi", np.asarray(dx, np.float64), x), scale)


@given(convolutions())
@settings(deadline=None, max_examples=30)
def test_bits_do_not_depend_on_threads(c):
    results = []
    for threads in (1, 2):
        _, _, engine, rng = one_layer({**c, "threads": threads})
        x = rng.normal(size=(c["batch"], c["in"], c["height"], c["width"])).astype(np.float32)
        logits = engine.forward({"input": x})["logits"]
        engine.backward({"logits": np.sin(logits)})
        results.append((logits.tobytes(), engine.gradients.flat.tobytes()))
    assert results[0] == results[1]


@given(convolutions(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_a_subset_gets_exactly_its_gradients_and_nothing_else_moves(c, seed):
    _, model, engine, rng = one_layer(c)
    p = model["conv.weight"]
    x = rng.normal(size=(c["batch"], c["in"], c["height"], c["width"])).astype(np.float32)
    logits = engine.forward({"input": x})["logits"]
    engine.backward({"logits": logits})
    full = engine.gradients["conv.weight"].copy()
    engine.discard()
    subset = np.flatnonzero(np.random.default_rng(seed).random(p.living) < 0.5).astype(np.int32)
    engine.set_gradient_mask("conv.weight", subset)
    engine.forward({"input": x})
    engine.backward({"logits": logits})
    masked = engine.gradients["conv.weight"]
    rest = np.setdiff1d(np.arange(p.living), subset)
    assert np.all(masked[rest] == 0)
    close(masked[subset], full[subset])
    before = p.values.copy()
    engine.step(0.1)
    assert p.values[rest].tobytes() == before[rest].tobytes()


def test_dense_gradients_cover_pruned_weights():
    c = {
        "in": 6,
        "out": 10,
        "groups": 2,
        "kernel": [3, 3],
        "stride": [2, 1],
        "padding": [1, 1],
        "height": 9,
        "width": 7,
        "batch": 5,
        "density": 0.2,
        "lanes": _kernels.lanes()[-1],
        "threads": 2,
        "seed": 1,
    }
    _, model, engine, rng = one_layer(c)
    x = rng.normal(size=(5, 6, 9, 7)).astype(np.float32)
    out = engine.forward({"input": x}, fetch=["logits", "first"])
    seen = np.full(model["conv.weight"].spec.shape, np.nan, np.float32)

    def visit(name, rows, block):
        seen[rows.start : rows.stop] = block

    engine.visit_dense_gradients(["conv.weight"], visit)
    engine.backward({"logits": out["logits"]})
    geometry = [10, 6, 3, 3, 2, 1, 1, 1, 2]
    weight = np.ascontiguousarray(model["conv.weight"].dense())
    _, dw = _kernels.reference_conv_backward(geometry, out["first"], weight, out["logits"])
    close(seen, np.asarray(dw))
    close(engine.gradients["conv.weight"], seen.ravel()[model["conv.weight"].pattern])


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
def test_every_instruction_set_gives_the_reference(isa):
    """The whole file again in a child that is forced to an older instruction set."""
    import os
    import subprocess
    import sys

    if os.environ.get("EDGECL_ISA"):
        pytest.skip("already forced")
    probe = "from edgecl import _kernels; print(_kernels.isa())"
    environment = {**os.environ, "EDGECL_ISA": isa}
    found = subprocess.run([sys.executable, "-P", "-c", probe], env=environment, capture_output=True, text=True)
    if "not supported by this processor" in found.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert found.stdout.strip() == isa
    if isa == _kernels.isa():
        pytest.skip("tested in this process")
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", __file__, "-k", "reference or threads"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
