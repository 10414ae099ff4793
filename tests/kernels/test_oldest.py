"""A processor without AVX2 never sees an instruction of it: QEMU's user emulation ends a process at the first one."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

CHILD = """
import numpy as np
from edgecl import _kernels
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import GraphBuilder

assert _kernels.isa() == "sse2", _kernels.isa()
rng = np.random.default_rng(0)
g = GraphBuilder("small", (3, 9, 9), "float32")
x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * 3, std=[1.0] * 3, pad=0)
for i, (kernel, stride, groups) in enumerate([(3, 1, 1), (3, 2, 1), (3, 1, 8), (1, 1, 1)]):
    x = g.add("conv2d", [x], name=f"conv{i}", out=8, kernel=[kernel] * 2, stride=[stride] * 2,
              padding=[kernel // 2] * 2, groups=groups)
    x = g.add("relu", [g.add("batch_norm", [x], name=f"norm{i}")], name=f"relu{i}")
graph = g.build(g.add("global_avg_pool", [x], name="pooled"))
for batch in (1, 2, 3, 4, 8, 16):
    engine = NativeEngine(Model(graph, rng), compile_plan(graph, batch=batch, optimizer=Optimizer(momentum=0.9)))
    images = rng.normal(size=(batch, 3, 9, 9)).astype(np.float32)
    engine.backward({"logits": np.ones_like(engine.forward({graph.input: images})["logits"])})
    engine.step(0.1)
    engine.predictor(batch)(images)
print("learned")
"""


@pytest.mark.campaign
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="needs qemu-user")
def test_a_processor_of_2011_trains_with_the_sse2_kernels():
    command = ["qemu-x86_64", "-cpu", "SandyBridge", sys.executable, "-P", "-c", CHILD]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.stdout.endswith("learned\n"), run.stderr
