"""An ONNX file goes on learning: ``python own_onnx_model.py MODEL.onnx``. Without a file one is made here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import edgecl


def make(file: Path) -> Path:
    """A classifier of two layers on vectors of 8 numbers, as some other program might have exported it."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 32), "b1": (32,), "w2": (32, 3), "b2": (3,)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 8), ("y", 3))]
    graph = helper.make_graph(nodes, "classifier", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)
    return file


def main(file: Path) -> None:
    network = edgecl.from_onnx(str(file))
    (length,), head = network.graph.input_shape, network.graph.shapes[network.graph.logits]
    rng = np.random.default_rng(1)
    y = rng.integers(0, head[0], 150)
    x = (rng.normal(size=(head[0], length))[y] + rng.normal(0, 0.5, (150, length))).astype(np.float32)
    with edgecl.Learner(network, method="er", memory=60, batch=10, lr=0.05) as learner:
        learner.observe(x[:100], y[:100].tolist())
        learner.learn(epochs=5)
        learner.observe(x[:30] + 9, "far away")  # a label that the file did not have: the head grows
        learner.learn(epochs=5)
        right = sum(int(a == b) for a, b in zip(learner.predict(x[100:]), y[100:].tolist()))
        edgecl.to_onnx(learner, "learned.onnx")
    print(f"{right} of 50 right; learned.onnx has {len(onnx.load('learned.onnx').graph.node)} nodes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else make(Path("model.onnx")))
