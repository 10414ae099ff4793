"""Runs in the emulated Python: single layers and operators, forward and backward, each between window marks of count.c.

Prints one JSON object: where the kernels lie in memory, and for each window its layer, density, pass and work
(living weights times output vectors: one vector is one position of the lanes' samples; of an operator multiply-adds, or
where it has none values, times samples over lanes).
"""

from __future__ import annotations

import ctypes
import json
import sys

import numpy as np

from edgecl import _kernels
from edgecl.compiler import compile_plan
from edgecl.compiler.operations import CONV_INPUT, CONV_WEIGHT
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import GraphBuilder

OPEN, CLOSE = 9990, 9991
SAMPLES = 4  # one block of lanes
# name: in, out, kernel, stride, height and width
LAYERS = {
    "conv3x3 64-64 32x32": (64, 64, 3, 1, 32),
    "conv3x3 128-128 16x16": (128, 128, 3, 1, 16),
    "conv3x3 256-256 8x8": (256, 256, 3, 1, 8),
    "conv3x3 512-512 4x4": (512, 512, 3, 1, 4),
    "conv3x3 64-128 32x32 stride 2": (64, 128, 3, 2, 32),
    "conv1x1 256-128 16x16": (256, 128, 1, 1, 16),
}
# name: shape of the input, operator, attributes, work of a sample (None: its values)
OPERATORS = {
    "operator matmul 2x64x32 by its transpose": ((2, 64, 32), "matmul", {"scale": 0.18}, 2 * 64 * 64 * 32),
    "operator softmax 2x64x64": ((2, 64, 64), "softmax", {"axis": -1}, None),
    "operator layer_norm 128x64": ((128, 64), "layer_norm", {"axes": [0]}, None),
    "operator gru 64, 16 steps": ((16, 192), "gru", {"hidden": 64, "reset_after": True}, 16 * 192 * 64),
    "operator lstm 64, 16 steps": ((16, 256), "lstm", {"hidden": 64}, 16 * 256 * 64),
    "operator gelu 32x16x16": ((32, 16, 16), "gelu", {}, None),
    "operator hard_swish 32x16x16": ((32, 16, 16), "hard_swish", {}, None),
    "operator reduce_mean 32x16x16": ((32, 16, 16), "reduce_mean", {"axes": [1, 2], "keep": False}, None),
    "operator conv_transpose2d 32-16 8x8": (
        (32, 8, 8), "conv_transpose2d",
        {"out": 16, "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "groups": 1, "bias": False},
        32 * 16 * 4 * 8 * 8,
    ),
}  # fmt: skip
DENSITIES = [1.0, 0.25, 0.1, 0.05]
FUSED_DENSITY = 0.1


def syscall(number: int, argument: int = 0) -> None:
    ctypes.CDLL(None).syscall(number, argument)


def layer_graph(c: tuple[int, ...], before: bool, fused: bool):
    """One convolution. before : a cheap one in front, so that it has an input gradient;  fused : each with batch norm
    and ReLU behind it, whose sums and masks the kernels then take along."""
    inside, out, kernel, stride, size = c
    g = GraphBuilder("layer", (inside, size, size), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * inside, std=[1.0] * inside, pad=0)

    def block(x, name, out, kernel, stride, groups):
        square = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": [kernel // 2] * 2}
        x = g.add("conv2d", [x], name=name, out=out, groups=groups, bias=False, **square)
        if not fused:
            return x
        x = g.add("batch_norm", [x], name=f"{name}_norm")
        return g.add("relu", [x], name=f"{name}_relu")

    if before:
        x = block(x, "before", inside, 1, 1, inside)
    return g.build(block(x, "conv", out, kernel, stride, 1))


def engine_of(c: tuple[int, ...], density: float, before: bool, fused: bool) -> tuple[NativeEngine, int]:
    rng = np.random.default_rng(0)
    graph = layer_graph(c, before, fused)
    model = Model(graph, rng)
    weight = model["conv.weight"]
    if density < 1:
        count = round(weight.spec.size * density)
        weight.set_pattern(np.sort(rng.choice(weight.spec.size, count, replace=False)).astype(np.int32))
    plan = compile_plan(graph, batch=SAMPLES, densities={"conv.weight": density})
    return NativeEngine(model, plan), weight.living


class Windows:
    """Marks windows and remembers what ran in them."""

    def __init__(self) -> None:
        self.found: list[dict[str, object]] = []

    def close(self, layer: str, density: float, passed: str, fused: bool, work: int) -> None:
        syscall(CLOSE, len(self.found))
        about = {"layer": layer, "density": density, "pass": passed, "fused": fused}
        self.found.append({**about, "work": work})


def measure(windows: Windows, layer: str, density: float, fused: bool) -> None:
    """Forward, weight gradient and input gradient of one layer; each ran once before, so lists and tiles are made."""
    c = LAYERS[layer]
    x = np.random.default_rng(1).normal(size=(SAMPLES, c[0], c[4], c[4])).astype(np.float32)
    engine, living = engine_of(c, density, False, fused)
    work = living * (c[4] // c[3]) ** 2 * SAMPLES // _kernels.lanes()[0]
    engine.forward({"input": x})
    syscall(OPEN)
    engine.forward({"input": x})
    windows.close(layer, density, "forward", fused, work)

    engine, living = engine_of(c, density, True, fused)
    logits = engine.forward({"input": x})["logits"]
    seed = np.random.default_rng(2).normal(size=logits.shape).astype(np.float32)
    engine.backward({"logits": seed})
    engine.forward({"input": x})
    train = engine.plan.program["train"]
    engine._session.load(next(iter(train["seeds"].values())), seed)
    for i, (code, args) in enumerate(train["backward"]):
        syscall(OPEN)
        engine._session.backward(i, i + 1)
        if code in (CONV_WEIGHT, CONV_INPUT) and args[0] == 1:  # of the second weight
            passed = "weight gradient" if code == CONV_WEIGHT else "input gradient"
            windows.close(layer, density, passed, fused, work)


def operator_graph(name: str, alone: bool):
    """The operator behind a sum with a parameter, so that it has an input gradient; or what stands before it alone."""
    shape, op, attributes, _ = OPERATORS[name]
    size = int(np.prod(shape))
    g = GraphBuilder("operator", (size,), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * size, std=[1.0] * size, pad=0)
    x = g.add("add", [x, g.add("parameter", [], name="zeros", shape=[size])], name="learned")
    x = g.add("reshape", [x], name="shaped", shape=list(shape))
    if alone:
        return g.build(x)
    inputs = [x, g.add("transpose", [x], name="turned", axes=[0, 2, 1])] if op == "matmul" else [x]
    return g.build(g.add(op, inputs, name="operator", **attributes))


def measure_operator(windows: Windows, name: str) -> None:
    """Forward and the whole backward pass, first of what stands before the operator; each ran once before."""
    work = (OPERATORS[name][3] or int(np.prod(OPERATORS[name][0]))) * SAMPLES // _kernels.lanes()[0]
    for alone, which in ((True, ", before it"), (False, "")):
        measure_passes(windows, name, operator_graph(name, alone), which, work)


def measure_passes(windows: Windows, name: str, graph, which: str, work: int) -> None:
    rng = np.random.default_rng(0)
    engine = NativeEngine(Model(graph, rng), compile_plan(graph, batch=SAMPLES))
    x = rng.normal(size=(SAMPLES, *graph.input_shape)).astype(np.float32)
    seed = rng.normal(size=(SAMPLES, *graph.shapes[graph.logits])).astype(np.float32)
    engine.forward({"input": x})
    engine.backward({"logits": seed})
    syscall(OPEN)
    engine.forward({"input": x})
    windows.close(name, 1.0, f"forward{which}", False, work)
    syscall(OPEN)
    engine.backward({"logits": seed})
    windows.close(name, 1.0, f"backward{which}", False, work)


def main() -> None:
    windows = Windows()
    for name in [a for a in sys.argv[1:] if a in OPERATORS] or ([] if sys.argv[1:] else OPERATORS):
        measure_operator(windows, name)
    for layer in [a for a in sys.argv[1:] if a in LAYERS] or ([] if sys.argv[1:] else LAYERS):
        for density in DENSITIES:
            measure(windows, layer, density, fused=False)
        measure(windows, layer, FUSED_DENSITY, fused=True)
    with open("/proc/self/maps") as maps:
        base = next(line for line in maps if "_kernels" in line)
    print(json.dumps({"base": int(base.split("-")[0], 16), "windows": windows.found}))


if __name__ == "__main__":
    main()
