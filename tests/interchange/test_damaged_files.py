"""Whatever is in a file: a refusal that says what is wrong, or a network that passes its own checks; never more."""

import resource
import warnings
import zlib

import numpy as np
import onnx
import pytest
from mutations import altered, damaged
from onnx import helper, numpy_helper

import edgecl
from edgecl.errors import EdgeclError
from edgecl.graph.builders import build
from edgecl.graph.check import check_graph
from edgecl.graph.importers import from_onnx
from edgecl.network import Network

MOST_GROWTH = 256_000_000  # bytes, over all files


def onnx_seeds(tmp_path):
    """Small files with convolutions, recurrence, attention-like products, shape arithmetic."""
    found = []
    for name, shape in (("cnn", (1, 12, 12)), ("gru", (3, 1, 12)), ("mobilenetv3_small", (3, 16, 16))):
        path = tmp_path / f"{name}.onnx"
        options = {"width": 0.25} if name.startswith("mobile") else {}
        edgecl.to_onnx(Network(build(name, shape, 3, **options)), path, keep_bn=name == "cnn")
        found.append(path.read_bytes())
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["b"], axis=0),
        helper.make_node("Unsqueeze", ["b", "first"], ["bb"]),
        helper.make_node("Concat", ["bb", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"], axis=-1),
        helper.make_node("ReduceMean", ["p", "last"], ["y"], keepdims=0),
    ]  # fmt: skip
    held = {
        "zero": np.array(0), "first": np.array([0]), "rest": np.array([4, 16]), "last": np.array([1]),
        "w": rng.normal(size=(16, 5)).astype(np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "shapes", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["b", 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return [*found, model.SerializeToString()]


def try_onnx(content):
    """True where it became a network."""
    try:
        imported = from_onnx(content)
        Network(imported.graph, imported.weights, imported.notes)
    except EdgeclError as error:
        assert error.cause
        return False
    check_graph(imported.graph)
    return True


def run(files, tmp_path, seed):
    rng = np.random.default_rng(seed)
    seeds = onnx_seeds(tmp_path)
    plain = Network(build("cnn", (1, 8, 8), 3))
    biased = Network(build("mlp", (4,), 3), {"logits.bias": np.ones(3, np.float32)})
    box = [n.save(tmp_path / "seed.edgecl").read_bytes() for n in (plain, biased)]
    for content in seeds:
        assert try_onnx(content)
    before, good = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(files):
            if i % 4 == 3:
                path = tmp_path / "m.edgecl"
                path.write_bytes(damaged(box[i // 4 % len(box)], rng))
                try:
                    check_graph(Network.load(path).graph)
                    good += 1
                except EdgeclError as error:
                    assert error.cause
            else:
                source = seeds[i % len(seeds)]
                good += try_onnx((altered if i % 2 else damaged)(source, rng))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MOST_GROWTH
    return good


def test_mutated_files_are_refused_or_sound(tmp_path):
    good = run(240, tmp_path, zlib.crc32(b"everyday"))
    assert 0 < good < 240


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_twenty_thousand_mutated_files(seed, tmp_path):
    run(1000, tmp_path, seed)
