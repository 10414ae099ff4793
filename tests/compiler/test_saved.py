"""Activations saved in bfloat16: half the arena, the forward pass bit for bit, gradients of the rounded values."""

import numpy as np
import pytest
from test_plan import NARROW, NETS

from edgecl.compiler import compile_plan, saved
from edgecl.compiler.saved import RESTORE, SAVE
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.errors import BadInput
from edgecl.graph import GraphBuilder
from edgecl.graph.builders import build


@pytest.fixture
def save_everything(monkeypatch):
    monkeypatch.setattr(saved, "_worth_it", lambda buffers, spans, *sizes: set(spans))


def engine_of(graph, batch, activations="bfloat16", **choices):
    plan = compile_plan(graph, batch=batch, activations=activations, **choices)
    engine = NativeEngine(Model(graph, np.random.default_rng(1)), plan)
    engine._session.poison()
    return engine


def pass_of(engine, x):
    """Logits and all gradients of one training pass."""
    logits = engine.forward({"input": x})["logits"]
    engine.backward({"logits": np.sin(logits)})
    return logits, engine.gradients.flat.copy()


def samples(shape, n=5):
    return np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("recompute", [False, True])
def test_the_forward_pass_keeps_its_bits_and_gradients_their_direction(net, recompute, save_everything):
    graph, x = build(net, NETS[net], 4, input_dtype="float32", **NARROW.get(net, {})), samples(NETS[net])
    exact, whole = pass_of(engine_of(graph, 5, "float32", recompute=recompute), x)
    logits, gradients = pass_of(engine_of(graph, 5, recompute=recompute, threads=2), x)
    assert logits.tobytes() == exact.tobytes()
    assert np.dot(gradients, whole) > 0.98 * np.linalg.norm(gradients) * np.linalg.norm(whole)
    assert gradients.tobytes() == pass_of(engine_of(graph, 5, recompute=recompute, threads=1), x)[1].tobytes()


def plain_net():
    """x -> convolution -> relu -> convolution -> average: its weight gradients are sums over what was saved."""
    g = GraphBuilder("plain", (3, 8, 8), "float32")
    x = g.add("normalise", [g.input], name="norm", mean=[0.0] * 3, std=[1.0] * 3, pad=0)
    shape = {"kernel": [1, 1], "stride": [1, 1], "padding": [0, 0], "groups": 1, "bias": False, "prunable": True}
    x = g.add("relu", [g.add("conv2d", [x], name="first", out=4, **shape)], name="relu")
    x = g.add("conv2d", [x], name="second", out=4, **shape)
    return g.build(g.add("linear", [g.add("global_avg_pool", [x], name="pool")], name="logits", out=3))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_saved_values_are_rounded_to_the_nearest_bfloat16(lanes, save_everything):
    torch = pytest.importorskip("torch")
    from edgecl import _kernels

    if lanes not in _kernels.lanes():
        pytest.skip("no such vectors here")
    graph, x = plain_net(), samples((3, 8, 8), 6)
    x[:, 0] = 1 + (1 + 2 * np.random.default_rng(3).integers(0, 64, (6, 8, 8))) * 2.0**-8  # ties, to be made even
    x[0, 1, 0] = [1e-40, 2 - 2.0**-9, -2 + 2.0**-9, 0.0, -0.0, 2.0**-126, 8.0, -1.0]  # tiny; up to a power of two
    engine = engine_of(graph, 6, lanes=lanes)
    assert [code for code, _ in engine.plan.program["train"]["forward"]].count(SAVE) >= 2
    logits = engine.forward({"input": x})["logits"]
    seed = np.sin(logits)
    engine.backward({"logits": seed})
    shapes = (("first", 3), ("second", 4), ("logits", 4))
    w1, w2, w3 = (engine.model[f"{name}.weight"].dense().reshape(-1, k) for name, k in shapes)
    hidden = np.einsum("nchw,oc->nohw", x, w1)
    dy = np.repeat(np.repeat((seed @ w3 / 64)[:, :, None, None], 8, 2), 8, 3)  # of the second's output
    dh = np.einsum("nohw,oc->nchw", dy, w2) * (hidden > 0)
    rounded = torch.from_numpy(x).bfloat16().float().numpy()
    found = engine.gradients["first.weight"].reshape(4, 3)
    exact = np.einsum("nohw,nchw->oc", dh.astype(np.float64), rounded)
    assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()
    # rounding makes a difference that this would see
    assert np.abs(found - np.einsum("nohw,nchw->oc", dh.astype(np.float64), x)).max() > 1e-4 * np.abs(exact).max()


def test_a_number_that_is_none_stays_one(save_everything):
    graph, x = plain_net(), samples((3, 8, 8), 4)
    x[0, 0, 0, 0] = np.frombuffer(np.uint32(0x7FFFFFFF).tobytes(), np.float32)[0]  # all bits of the mantissa
    engine = engine_of(graph, 4)
    engine.forward({"input": x})
    engine.backward({"logits": np.ones((4, 3), np.float32)})
    assert np.isnan(engine.gradients["first.weight"]).any()


@pytest.mark.parametrize("net, shape, share", [("resnet18", (3, 32, 32), 0.62), ("mobilenetv2", (3, 32, 32), 0.55)])
def test_the_arena_shrinks(net, shape, share):
    graph = build(net, shape, 10)
    whole, half = (compile_plan(graph, batch=32, activations=a) for a in ("float32", "bfloat16"))
    assert half.memory["arena"] < share * whole.memory["arena"]
    assert half.program["activations"] == "bfloat16"


def test_maps_that_would_not_lower_the_arena_are_left_alone():
    graph = build("cnn", (1, 28, 28), 10)
    program = compile_plan(graph, batch=16, activations="bfloat16").program["train"]
    whole = compile_plan(graph, batch=16).program["train"]
    everything = len(saved._spans(whole["forward"], whole["backward"], ()))
    saves = [code for code, _ in program["forward"]].count(SAVE)
    assert saves == [code for code, _ in program["backward"]].count(RESTORE) < everything


def test_an_unknown_format_is_refused():
    with pytest.raises(BadInput, match="bfloat16"):
        compile_plan(build("mlp", (1, 4, 4), 3), batch=2, activations="float8")
