"""What leaves as ONNX predicts the same elsewhere, and comes in again."""

import json

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("edgecl._kernels")

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.errors import EdgeclError
from edgecl.graph.builders import build
from edgecl.graph.exporters import to_onnx
from edgecl.graph.importers import from_onnx


def trained(graph, steps=3, rows=6):
    """An engine after a few steps, and samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, *graph.input_shape)).astype(np.float32)
    if graph.input_dtype == "uint8":
        x = rng.integers(0, 256, x.shape).astype(np.uint8)
    engine = NativeEngine(Model(graph, rng), compile_plan(graph, batch=rows, optimizer=Optimizer(momentum=0.9)))
    for _ in range(steps):
        logits = engine.forward({"input": x})["logits"]
        engine.backward({"logits": (0.01 * rng.normal(size=logits.shape)).astype(np.float32)})
        engine.step(0.05)
    return engine, x


def predict(engine):
    return lambda x: engine.forward({"input": x}, training=False)["logits"]


def dense(engine):
    return {n: p.dense() for n, p in engine.model.parameters.items()}


def engine_of(imported, rows):
    model = Model(imported.graph, np.random.default_rng(1))
    for key, value in imported.weights.items():
        model[key].values[:] = value.ravel()
    return NativeEngine(model, compile_plan(imported.graph, batch=rows))


BOX = [
    ("cnn", (1, 12, 12), {}), ("cnn", (3, 12, 12), {"norm": "group"}), ("cnn1d", (3, 1, 64), {}), ("mlp", (20,), {}),
    ("ds_cnn", (1, 25, 10), {}), ("resnet20", (3, 16, 16), {}), ("mobilenetv2", (3, 32, 32), {}),
    ("cnn", (1, 12, 12), {"head": "cosine"}),
]  # fmt: skip


@pytest.mark.parametrize("keep_bn", [False, True])
@pytest.mark.parametrize("name, shape, options", BOX)
def test_a_network_in_the_box_goes_out_and_in_again(tmp_path, name, shape, options, keep_bn):
    engine, x = trained(build(name, shape, 5, **options))
    path = tmp_path / "out.onnx"
    verified = to_onnx(
        engine.plan.graph, dense(engine), path, keep_bn=keep_bn, predict=predict(engine), samples=x,
        metadata={"edgecl.labels": ["a", "b", "c", "d", "e"]},
    )  # fmt: skip
    assert verified.runtime.startswith("onnxruntime") and verified.n == len(x) and verified.max_abs <= 1e-4
    again = from_onnx(path, input_dtype=engine.plan.graph.input_dtype)
    assert json.loads(again.notes["metadata"]["edgecl.labels"]) == ["a", "b", "c", "d", "e"]
    assert again.graph.input_dtype == engine.plan.graph.input_dtype
    twin = engine_of(again, len(x))
    assert np.abs(predict(twin)(x) - predict(engine)(x)).max() <= 1e-4


def test_only_the_classes_seen_are_written(tmp_path):
    engine, x = trained(build("cnn", (1, 12, 12), 5))
    verified = to_onnx(
        engine.plan.graph, dense(engine), tmp_path / "o.onnx", classes=[3, 1], predict=predict(engine), samples=x
    )
    assert verified.n == len(x)
    assert from_onnx(tmp_path / "o.onnx", input_dtype="uint8").graph.classes == 2


def test_a_file_that_predicts_something_else_is_not_kept(tmp_path):
    engine, x = trained(build("cnn", (1, 12, 12), 5))
    with pytest.raises(EdgeclError, match="differs"):
        to_onnx(
            engine.plan.graph, dense(engine), tmp_path / "o.onnx", predict=lambda v: predict(engine)(v) + 1, samples=x
        )
    assert list(tmp_path.iterdir()) == []


torch = pytest.importorskip("torch")

from foreign_nets import NETS  # noqa: E402
from foreign_nets import build as foreign  # noqa: E402

from edgecl.graph.importers import from_torch  # noqa: E402


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETS)
def test_an_imported_network_that_has_learned_goes_out(tmp_path, name):
    module, shape = foreign(name)
    imported = from_torch(module, torch.zeros(1, *shape))
    engine, x = trained(imported.graph)
    path = tmp_path / "out.onnx"
    verified = to_onnx(imported.graph, dense(engine), path, predict=predict(engine), samples=x)
    assert verified.max_abs <= 1e-4
    again = from_onnx(path)
    twin = engine_of(again, len(x))
    assert np.abs(predict(twin)(x) - predict(engine)(x)).max() <= 1e-4
