"""A module or an ONNX file becomes a network that a learner takes, and what cannot become one is refused by place."""

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import edgecl
from edgecl.__main__ import main
from edgecl.errors import BadInput
from edgecl.network import Network

F, I64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, weights=None, shape=("b", 1, 8, 8), outputs=("y",), opset=18, metadata=None):
    """A ModelProto of one input ``x``."""
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", F, shape)],
        [helper.make_tensor_value_info(n, F, None) for n in outputs], held,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    helper.set_model_props(made, metadata or {})
    return made


def classifier(classes=3, metadata=None):
    """Convolution, ReLU, mean, linear layer."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "act"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v", "b"], ["y"], "head", transB=1),
    ]
    weights = {
        "w": rng.normal(size=(4, 1, 3, 3)).astype(np.float32), "v": rng.normal(size=(classes, 4)).astype(np.float32),
        "b": np.zeros(classes, np.float32),
    }  # fmt: skip
    return model(nodes, weights, metadata=metadata)


@pytest.fixture
def file(tmp_path):
    save(classifier(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return main([str(a) for a in arguments])


def test_a_file_becomes_a_network_that_a_learner_trains_and_widens(file, tmp_path):
    assert run("import", file, "-o", tmp_path / "net.edgecl", "--classes", 2, "--input", "uint8", "--std", 255) == 0
    x = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), np.uint8)
    with edgecl.Learner(tmp_path / "net.edgecl", memory=8, batch=4) as learner:
        assert learner.spec.shape == (1, 8, 8) and learner.spec.dtype == "uint8" and learner.core.classes == 2
        learner.observe(x[:6], [0, 1, 2, 0, 1, 2])  # more labels than the head has rows
        assert learner.learn(epochs=2).stopped is None and learner.core.classes >= 3
        learner.save(tmp_path / "saved")
        expected = learner.predict(x, proba=True)
    with edgecl.Learner.open(tmp_path / "saved") as again:
        np.testing.assert_array_equal(again.predict(x, proba=True), expected)


def test_a_kept_head_predicts_its_labels_at_once_and_learns_more(tmp_path):
    save(classifier(metadata={"edgecl.labels": '["cat", "dog", "owl"]'}), tmp_path / "net.onnx")
    network = edgecl.from_onnx(tmp_path / "net.onnx")
    x = np.random.default_rng(0).normal(size=(12, 1, 8, 8)).astype(np.float32)
    with edgecl.Learner(network, memory=8) as learner:
        before = learner.predict(x)
        assert learner.labels == ("cat", "dog", "owl") and set(before) <= {"cat", "dog", "owl"}
        learner.observe(x, ["dog", "fox"] * 6)
        learner.learn(epochs=1)
        assert learner.labels == ("cat", "dog", "owl", "fox")


def test_a_narrow_head_keeps_its_rows_where_a_learner_asks_for_more(file):
    network = edgecl.from_onnx(file)
    with edgecl.Learner(network, classes=7) as learner:
        rows = learner.core.parts.engine.model["head.weight"].dense()
        np.testing.assert_array_equal(rows[:3], network.weights["head.weight"])
        assert rows.shape == (7, 4) and np.abs(rows[3:]).min() > 0


def test_labels_name_the_units_of_a_fresh_head(file):
    network = edgecl.from_onnx(file, classes=["left", "right"])
    assert network.labels == ["left", "right"] and network.graph.classes == 2
    with edgecl.Learner(network) as learner, pytest.raises(BadInput, match="Nothing has been learned"):
        learner.predict(np.zeros((1, 8, 8), np.float32))


def test_a_fresh_head_of_as_many_outputs_as_the_old_one_is_no_difference(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    network = edgecl.from_torch(module, torch.zeros(1, 6), classes=["left", "right"])
    assert network.about["labels"] == ["left", "right"]
    head = next(w for n, w in network.weights.items() if w.shape == (2, 4))
    assert not np.allclose(head, module[2].weight.detach().numpy())


def test_what_the_trial_compared_is_known(file):
    accepted = edgecl.from_onnx(file).about["accepted"]
    assert accepted["runtime"].startswith("onnxruntime") and accepted["max_abs"] < 1e-4 and accepted["loss"] > 0


def test_check_names_every_node_and_writes_nothing(tmp_path, capfd):
    nodes = [
        helper.make_node("Det", ["x"], ["d"], "first"),
        helper.make_node("NonZero", ["x"], ["n"], "second"),
        helper.make_node("Bernoulli", ["x"], ["y"], "third"),
    ]
    save(model(nodes, outputs=("d", "n", "y")), tmp_path / "net.onnx")
    for more in (["--check"], ["-o", tmp_path / "net.edgecl"]):
        assert run("import", tmp_path / "net.onnx", *more) == 2
        said = capfd.readouterr().err
        for op, place in (("Det", "first"), ("NonZero", "second"), ("Bernoulli", "third")):
            assert f"Operator '{op}' at '{place}' (opset 18)" in said
        assert "3 of 3 nodes" in said
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def cyclic():
    return model([helper.make_node("Relu", ["b"], ["a"], "one"), helper.make_node("Add", ["a", "x"], ["b"], "two")],
                 outputs=("b",))  # fmt: skip


def big():
    made = model([helper.make_node("Relu", ["x"], ["y0"], "n0")])
    for i in range(100_000):
        made.graph.node.add(op_type="Relu", input=[f"y{i}"], output=[f"y{i + 1}"], name=f"n{i + 1}")
    made.graph.output[0].name = "y100000"
    return made


def outside():
    made = classifier()
    w = made.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value="../w.bin")
    return made


def short_tensor():
    made = classifier()
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-4]
    return made


def infinite():
    made = classifier()
    w = numpy_helper.to_array(made.graph.initializer[0]).copy()
    w[0] = np.inf
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(w, "w"))
    return made


def with_double():
    return model([helper.make_node("Add", ["x", "w"], ["y"], "sum")], {"w": np.ones((1, 8, 8))})


BAD = {
    "a cycle": (cyclic, "wait for each other"),
    "100,001 nodes": (big, "100001 nodes"),
    "external data outside the folder": (outside, "outside the model's folder"),
    "a size that differs from its bytes": (short_tensor, "cannot be read"),
    "weights that are not finite": (infinite, "not finite"),
    "a dynamic shape": (lambda: model([helper.make_node("Relu", ["x"], ["y"], "act")], shape=("b", 3, "h", "w")),
                        "--input"),
    "no input to an output": (lambda: model([helper.make_node("Constant", [], ["y"], "c", value_floats=[1.0])]),
                              "No floating path"),
    "float64": (with_double, "at 'sum'"),
    "an old opset": (lambda: model([helper.make_node("Relu", ["x"], ["y"], "act")], opset=5), "opset 5"),
    "a branch by data": (lambda: model([
        helper.make_node("If", ["x"], ["y"], "choice", then_branch=helper.make_graph([], "t", [], []),
                         else_branch=helper.make_graph([], "e", [], []))]), "'If' at 'choice'"),
    "a mean over the batch": (lambda: model([helper.make_node("ReduceMean", ["x", "axes"], ["y"], "mean")],
                                            {"axes": np.array([0], np.int64)}), "mixes the samples of a batch"),
    "another domain": (lambda: model([helper.make_node("Magic", ["x"], ["y"], "m", domain="org.own")]), "org.own"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(what, tmp_path, capfd):
    made, word = BAD[what]
    (tmp_path / "net.onnx").write_bytes(made().SerializeToString())
    assert run("import", tmp_path / "net.onnx", "-o", tmp_path / "net.edgecl") == 2
    said = capfd.readouterr().err
    assert word in said and "Traceback" not in said and "try:" in said
    assert not (tmp_path / "net.edgecl").exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\3\4 no model", b"\x08\x09" * 40])
def test_a_foreign_or_truncated_file_is_refused(content, tmp_path, capfd):
    whole = classifier().SerializeToString()
    for data in (content, whole[: len(whole) // 2], whole[:-7]):
        (tmp_path / "net.onnx").write_bytes(data)
        assert run("import", tmp_path / "net.onnx", "-o", tmp_path / "net.edgecl") == 2
        assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "net.edgecl").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--classes", "0"], "0 classes"), (["--classes", "labels.txt"], "labels.txt"),
        (["--input", "3 by 4"], "3x96x96"), (["--input", "2x8x8"], "[1, 8, 8]"),
        (["--std", "0"], "std"), (["--mean", "a"], "--mean"),
        (["--preprocess", "caffe"], "imagenet"), (["--freeze-below", "nothing"], "nothing"),
        (["--freeze-below", "head"], "all that could learn"), (["-o", "net.bin"], "net.bin.edgecl"),
    ],
)  # fmt: skip
def test_wishes_that_do_not_fit_are_refused(arguments, word, file, capfd, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert run("import", file, *arguments) == 2
    said = capfd.readouterr().err
    assert word in said and "Traceback" not in said
    assert [p.name for p in file.parent.iterdir()] == ["net.onnx"]


def test_a_quantised_file_learns_in_float(tmp_path):
    """Where the least integer stands for zero the range was an activation, which stays."""
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (3, 64)).astype(np.int8)
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flat"),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], "weights", axis=0),
        helper.make_node("MatMul", ["f", "vt"], ["m"], "product"),
        helper.make_node("Transpose", ["v"], ["vt"], "turn", perm=[1, 0]),
        helper.make_node("QuantizeLinear", ["m", "a", "u"], ["q"], "round"),
        helper.make_node("DequantizeLinear", ["q", "a", "u"], ["y"], "back"),
    ]
    weights = {
        "w": w, "s": np.array([0.01, 0.02, 0.005], np.float32), "z": np.zeros(3, np.int8),
        "a": np.float32(0.05), "u": np.uint8(0),
    }  # fmt: skip
    save(model(nodes, weights), tmp_path / "net.onnx")
    network = edgecl.from_onnx(tmp_path / "net.onnx")
    from edgecl.acceptance import engine_of, samples

    x = samples(network, 3)
    found = engine_of(network).forward({network.graph.input: x}, training=False)["logits"]
    exact = x.reshape(3, -1) @ (w * weights["s"][:, None]).T
    np.testing.assert_allclose(found, np.clip(exact, 0, 0.05 * 255), atol=1e-4)
    assert any("quantised" in w for w in network.about["warnings"])


torch = pytest.importorskip("torch")


class Tied(torch.nn.Module):
    """One linear layer used twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = torch.nn.Linear(6, 6), torch.nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


def test_shared_weights_stay_one_array_from_module_to_file_and_back(tmp_path):
    network = edgecl.from_torch(Tied(), torch.zeros(2, 6))
    assert sum(n.endswith("weight") for n in network.graph.parameters) == 2
    back = Network.load(network.save(tmp_path / "tied.edgecl"))
    assert back.digest == network.digest
    edgecl.to_onnx(network, tmp_path / "tied.onnx")
    again = edgecl.from_onnx(tmp_path / "tied.onnx")
    assert sum(n.endswith("weight") for n in again.graph.parameters) == 2


def test_an_example_that_is_no_batch_is_refused():
    for example in (torch.zeros(6), np.zeros((2, 6)), torch.zeros(2, 3, 5)):
        with pytest.raises(BadInput):
            edgecl.from_torch(Tied(), example)


def test_a_module_becomes_a_network_that_learns_from_raw_pixels():
    body = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 9),
    )  # fmt: skip
    network = edgecl.from_torch(
        body, torch.zeros(1, 1, 8, 8), classes=["a", "b"], input_dtype="uint8", mean=127.5, std=60
    )
    assert network.about["accepted"]["runtime"].startswith("torch")
    with edgecl.Learner(network) as learner:
        learner.observe(np.full((4, 1, 8, 8), 200, np.uint8), ["b", "a", "a", "b"])
        assert learner.learn().steps and learner.labels == ("a", "b")


@pytest.mark.parametrize("where", ["conv", "graph name", "producer", "metadata"])
def test_a_name_that_is_no_text_is_refused(where):
    model = classifier()
    model.graph.node[0].name = "conv"
    model.graph.name, model.producer_name = "graph name", "producer"
    model.metadata_props.add(key="metadata", value="v")
    content, good = model.SerializeToString(), where.encode()
    assert content.count(good) == 1
    with pytest.raises(BadInput, match="UTF-8"):
        edgecl.from_onnx(content.replace(good, b"\xff" + good[1:]))
