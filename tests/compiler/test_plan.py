"""A plan says what will run and what it will use before anything is allocated."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl import _kernels
from edgecl.compiler import Optimizer, Plan, compile_plan
from edgecl.compiler.buffers import Buffer, backward_halo, forward_halo, place
from edgecl.compiler.fusion import fuse
from edgecl.compiler.operations import CONV_INPUT, DEPTH_BACKWARD, MASK, POINT_BACKWARD
from edgecl.compiler.program import Lowering
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.errors import EdgeclError
from edgecl.graph.builders import build

NETS = {
    "mlp": (1, 28, 28),
    "cnn": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "resnet18": (3, 32, 32),
    "mobilenetv2": (3, 32, 32),
    "cnn1d": (6, 1, 128),
    "ds_cnn": (1, 49, 10),
}
NARROW = {"resnet18": {"width": 16}}  # where its structure is what counts


@st.composite
def buffers(draw):
    out = []
    for _ in range(draw(st.integers(1, 25))):
        first = draw(st.integers(0, 30))
        size = [draw(st.integers(1, 9)) for _ in range(3)]
        out.append(Buffer(*size, first=first, last=first + draw(st.integers(0, 12))))
    return out


@given(buffers(), st.integers(1, 3), st.sampled_from([4, 8, 16]))
@settings(deadline=None)
def test_buffers_alive_together_never_overlap(items, blocks, lanes):
    arena = place(items, blocks, lanes)
    for i, a in enumerate(items):
        assert a.offset % 64 == 0
        assert a.offset + a.bytes(blocks, lanes) <= arena
        for b in items[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.bytes(blocks, lanes) <= b.offset or b.offset + b.bytes(blocks, lanes) <= a.offset
            assert apart or not together


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 4))
def test_halos_cover_every_access_of_a_convolution(size, kernel, stride, padding):
    padding = min(padding, kernel - 1)
    out = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        return
    before, after = forward_halo(size, out, kernel, stride, padding)
    reads = [o * stride + k - padding for o in range(out) for k in range(kernel)]
    assert -before <= min(reads) and max(reads) <= size - 1 + after
    before, after = backward_halo(size, out, kernel, stride, padding)
    reads = [(i + padding - k) // stride for i in range(size) for k in range(kernel) if (i + padding - k) % stride == 0]
    assert all(-before <= r <= out - 1 + after for r in reads)


@pytest.mark.parametrize("net", NETS)
def test_a_plan_survives_json_and_runs_the_same(net):
    graph = build(net, NETS[net], 4, input_dtype="float32", **NARROW.get(net, {}))
    plan = compile_plan(graph, batch=3, optimizer=Optimizer(momentum=0.9))
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    x = np.random.default_rng(0).normal(size=(3, *NETS[net])).astype(np.float32)
    outs = []
    for p in (plan, again):
        engine = NativeEngine(Model(p.graph, np.random.default_rng(1)), p)
        outs.append(engine.forward({"input": x})["logits"].tobytes())
    assert outs[0] == outs[1]


def test_batch_norm_relu_and_residual_addition_run_as_one_pass():
    graph = build("resnet20", (3, 32, 32), 10)
    units = fuse(graph, {graph.logits})
    affine = [u for u in units if u.kind == "affine"]
    assert len(affine) == 1 + 9 * 2  # stem and two per block
    assert sum(len(u.terms) == 2 for u in affine) == 9
    assert all(u.activation for u in affine)


def test_the_backward_epilogue_masks_wherever_a_convolution_comes_last():
    lowered = Lowering(build("resnet20", (3, 32, 32), 10), 1, 8, True, ("logits",))
    program = lowered.program()
    masked_by_convolutions = sum(args[4] for code, args in program["backward"] if code == CONV_INPUT)
    alone = [args for code, args in program["backward"] if code == MASK]
    # Two shortcuts have a batch norm of their own; the last block's gradient comes from the pooling.
    assert masked_by_convolutions == 18 and len(alone) == 3


def test_fetching_a_tensor_keeps_it_from_being_fused_away():
    graph = build("cnn", (1, 28, 28), 4, input_dtype="float32")
    inner = next(n.output for n in graph.nodes if n.op == "batch_norm")
    plan = compile_plan(graph, batch=2, fetch=[inner])
    engine = NativeEngine(Model(graph, np.random.default_rng(0)), plan)
    x = np.random.default_rng(0).normal(size=(2, 1, 28, 28)).astype(np.float32)
    out = engine.forward({"input": x}, fetch=["logits", inner])
    assert abs(float(out[inner].mean())) < 1e-4  # a normalised tensor
    plain = NativeEngine(Model(graph, np.random.default_rng(0)), compile_plan(graph, batch=2))
    with pytest.raises(EdgeclError, match="not among the tensors"):
        plain.forward({"input": x}, fetch=[inner])


def test_planned_bytes_grow_with_batch_and_density():
    graph = build("resnet20", (3, 32, 32), 10)
    sparse = dict.fromkeys(graph.prunable(), 0.1)
    small = compile_plan(graph, batch=8, lanes=4, densities=sparse).memory
    large = compile_plan(graph, batch=32, lanes=4, densities=sparse).memory
    dense = compile_plan(graph, batch=8, lanes=4).memory
    assert large["arena"] == 4 * small["arena"]
    assert dense["lists"] > 5 * small["lists"]


@pytest.mark.parametrize("net", NETS)
def test_recomputing_activations_saves_memory_and_changes_no_bit(net):
    graph = build(net, NETS[net], 4, input_dtype="float32", **NARROW.get(net, {}))
    x = np.random.default_rng(0).normal(size=(5, *NETS[net])).astype(np.float32)
    results, arenas = [], []
    for recompute in (False, True):
        plan = compile_plan(graph, batch=5, recompute=recompute, threads=2)
        engine = NativeEngine(Model(graph, np.random.default_rng(1)), plan)
        engine._session.poison()
        logits = engine.forward({"input": x})["logits"]
        engine.backward({"logits": np.sin(logits)})
        results.append(engine.gradients.flat.tobytes())
        arenas.append(plan.memory["arena"])
    assert results[0] == results[1]
    assert arenas[1] <= arenas[0] if net == "mlp" else arenas[1] < arenas[0]


def test_depthwise_and_pointwise_convolutions_read_through_normalisations():
    graph = build("mobilenetv2", (3, 32, 32), 10)
    lowering = Lowering(graph, 1, _kernels.lanes()[0], True, ("logits",), recompute=True)
    program = lowering.program()
    activations = {u.output for u in lowering.units if u.kind == "affine" and u.activation}
    # Only the last stage's small maps and the classifier's input are made; all others have no buffer.
    assert {a for a in activations if a not in lowering.through} <= {"last_relu"} | {
        f"s{s}b{b}_depth_relu" for s in (6, 7) for b in (1, 2, 3)
    }
    codes = [code for code, _ in program["backward"]]
    assert codes.count(DEPTH_BACKWARD) == 17 and codes.count(POINT_BACKWARD) == 26  # all whose output is 8x8 or larger
    # What two entry points share must not depend on the batch: their lists count in the same planes.
    other = Lowering(graph, 3, _kernels.lanes()[0], False, ("logits",)).program()
    assert all(other["planes"][n][0] == planes[0] for n, planes in program["planes"].items())
