"""Runs in the emulated Python: single layers, forward and backward, each between window marks of count.c.

Prints one JSON object: where the kernels lie in memory, and for each window its layer, density, pass and work
(living weights times output vectors: one vector is one position of the lanes' samples).
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

    def close(self, layer: str, density: float, passed: str, fused: bool, living: int) -> None:
        out = LAYERS[layer][4] // LAYERS[layer][3]
        work = living * out * out * SAMPLES // _kernels.lanes()[0]
        syscall(CLOSE, len(self.found))
        about = {"layer": layer, "density": density, "pass": passed, "fused": fused}
        self.found.append({**about, "work": work})


def measure(windows: Windows, layer: str, density: float, fused: bool) -> None:
    """Forward, weight gradient and input gradient of one layer; each ran once before, so lists and tiles are made."""
    c = LAYERS[layer]
    x = np.random.default_rng(1).normal(size=(SAMPLES, c[0], c[4], c[4])).astype(np.float32)
    engine, living = engine_of(c, density, False, fused)
    engine.forward({"input": x})
    syscall(OPEN)
    engine.forward({"input": x})
    windows.close(layer, density, "forward", fused, living)

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
            windows.close(layer, density, passed, fused, living)


def main() -> None:
    windows = Windows()
    for layer in sys.argv[1:] or LAYERS:
        for density in DENSITIES:
            measure(windows, layer, density, fused=False)
        measure(windows, layer, FUSED_DENSITY, fused=True)
    with open("/proc/self/maps") as maps:
        base = next(line for line in maps if "_kernels" in line)
    print(json.dumps({"base": int(base.split("-")[0], 16), "windows": windows.found}))


if __name__ == "__main__":
    main()
