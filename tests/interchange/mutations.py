"""Mutated model files: bytes changed, pieces moved, fields of the message altered."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
from onnx import ModelProto
from safetensors import safe_open

from edgecl.checkpoint import write_tensors
from edgecl.checksums import checksum

OPERATORS = ("Relu", "Conv", "Gemm", "Reshape", "Softmax", "LSTM", "Resize", "Pad", "Slice", "Split", "Attention")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Content with a few bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, len(data)))
        size = int(rng.integers(1, 9))
        what = rng.integers(0, 5)
        if what == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif what == 1:
            data[at : at + size] = rng.integers(0, 256, size, np.uint8).tobytes()
        elif what == 2:
            del data[at : at + size]
        elif what == 3:
            data[at:at] = data[at : at + size]
        else:
            del data[max(1, at) :]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def altered(content: bytes, rng: np.random.Generator) -> bytes:
    """A model that still parses, with attributes, names, shapes or tensors other than they were."""
    model = ModelProto.FromString(content)
    graph = model.graph
    for _ in range(int(rng.integers(1, 3))):
        node = graph.node[int(rng.integers(0, len(graph.node)))]
        what = rng.integers(0, 7)
        if what == 0 and node.attribute:
            a = node.attribute[int(rng.integers(0, len(node.attribute)))]
            if a.ints:
                a.ints[int(rng.integers(0, len(a.ints)))] = int(rng.choice([-1, 0, 1, 7, 2**31, 2**62, -(2**40)]))
            else:
                a.i = int(rng.choice([-1, 0, 3, 2**40]))
        elif what == 1 and node.input:
            names = [o for n in graph.node for o in n.output] + [t.name for t in graph.initializer]
            node.input[int(rng.integers(0, len(node.input)))] = str(rng.choice(names))
        elif what == 2:
            node.op_type = str(rng.choice(OPERATORS))
        elif what == 3 and graph.initializer:
            t = graph.initializer[int(rng.integers(0, len(graph.initializer)))]
            if t.dims:
                t.dims[int(rng.integers(0, len(t.dims)))] = int(rng.choice([0, -1, 1, 2, 2**31, 2**60]))
        elif what == 4 and graph.initializer:
            t = graph.initializer[int(rng.integers(0, len(graph.initializer)))]
            t.data_type = int(rng.integers(0, 25))
        elif what == 5:
            dims = graph.input[0].type.tensor_type.shape.dim
            if dims:
                dims[int(rng.integers(0, len(dims)))].dim_value = int(rng.choice([0, 1, 5, 2**20, 2**40]))
        else:
            model.opset_import[0].version = int(rng.integers(0, 40))
    return model.SerializeToString()


VALUES = (
    -1, 0, 1, 3, 7, 2**31, 2**62, 0.5, -1e30, True, None, "", "relu", "conv2d", "logits", [], [1, 1], [-1, 2**40], {},
    10**400, [[1], 2], [None],
)  # fmt: skip


def altered_box(content: bytes, rng: np.random.Generator, place: Path) -> bytes:
    """A `.edgecl` file whose checksum holds, with values of its graph other than they were."""
    path = place / "altered.edgecl"
    path.write_bytes(content)
    with safe_open(path, "numpy") as file:
        model = json.loads(file.metadata()["edgecl.model"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for _ in range(int(rng.integers(1, 3))):
        at = model["graph"]
        while True:  # down to a leaf, or an inner value now and then
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = keys[int(rng.integers(0, len(keys)))]
            if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.95:
                at = at[key]
                continue
            break
        what = rng.integers(0, 4)
        if what == 0:
            del at[key]
        elif what == 1 and isinstance(at[key], int):
            at[key] = at[key] + int(rng.choice([-1, 1]))
        else:
            at[key] = copy.deepcopy(VALUES[int(rng.integers(0, len(VALUES)))])
    if weights and rng.random() < 0.1:
        name = str(rng.choice(list(weights)))
        weights[name] = weights[name].reshape(-1)[1:]
    text = json.dumps(model, sort_keys=True)
    write_tensors(path, weights, {"edgecl.model": text, "sha256": checksum(text, weights)})
    return path.read_bytes()
