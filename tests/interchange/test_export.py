"""What was learned leaves as an ONNX file that predicts the same, and what would not is refused and leaves nothing."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

import edgecl
from edgecl.__main__ import main
from edgecl.errors import BadInput, EdgeclError
from edgecl.exporting import export, of_core
from edgecl.graph.builders import build
from edgecl.methods.ncm import NCM

LABELS = ("ant", "bee", "cow")


def pictures(n, seed=0):
    """Three classes of pictures that a small network tells apart, and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    base = np.random.default_rng(9).integers(30, 220, (3, 1, 12, 12))
    return np.clip(base[y] + rng.normal(0, 20, (n, 1, 12, 12)), 0, 255).astype(np.uint8), [LABELS[k] for k in y]


def learned(network="mlp", epochs=4, **options):
    learner = edgecl.Learner(network, input_shape=(1, 12, 12), memory=60, lr=0.05, **options)
    x, y = pictures(90)
    learner.observe(x, y)
    learner.learn(epochs=epochs)
    return learner


def metadata(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def outputs(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input": x})[0]


@pytest.mark.parametrize("how", [{}, {"sparsity": 0.8}, {"method": "cls-er"}, {"ema": 0.9}])
def test_a_file_gives_the_learners_own_answers_on_raw_pixels(how, tmp_path):
    x, _ = pictures(30, seed=5)
    with learned(**how) as learner:
        done = edgecl.to_onnx(learner, tmp_path / "o.onnx")
        assert done.runtime.startswith("onnxruntime") and done.n == 60 and done.max_abs <= 1e-4
        found = outputs(tmp_path / "o.onnx", x)
        assert found.shape == (30, 3)  # of ten head units three have learned
        assert [LABELS[k] for k in found.argmax(1)] == learner.predict(x)
        steps = learner.core.trainer.steps
    about = metadata(tmp_path / "o.onnx")
    assert json.loads(about["edgecl.labels"]) == list(LABELS) and about["edgecl.version"] == edgecl.__version__
    assert json.loads(about["edgecl.input"])["dtype"] == "uint8"
    assert json.loads(about["edgecl.training"])["steps"] == steps
    assert json.loads(about["edgecl.verified"])["n"] == 60
    assert bool(json.loads(about["edgecl.density"])) == ("sparsity" in how)


def test_a_file_comes_back_as_a_network_with_the_same_answers_and_labels(tmp_path):
    x, _ = pictures(30, seed=5)
    with learned() as learner:
        edgecl.to_onnx(learner, tmp_path / "o.onnx")
        expected = learner.predict(x)
    network = edgecl.from_onnx(tmp_path / "o.onnx")
    with edgecl.Learner(network) as again:
        assert again.labels == LABELS and again.predict(x) == expected


def test_norms_leave_folded_or_as_nodes_of_their_own(tmp_path):
    with learned("cnn", 1) as learner:
        edgecl.to_onnx(learner, tmp_path / "folded.onnx")
        edgecl.to_onnx(learner, tmp_path / "kept.onnx", keep_bn=True, features=True)
    ops = {n: [node.op_type for node in onnx.load(tmp_path / n).graph.node] for n in ("folded.onnx", "kept.onnx")}
    assert "BatchNormalization" not in ops["folded.onnx"] and "BatchNormalization" in ops["kept.onnx"]
    assert [o.name for o in onnx.load(tmp_path / "kept.onnx").graph.output] == ["logits", "features"]


def test_eight_bits_keep_the_accuracy_on_samples_that_did_not_calibrate(tmp_path):
    with learned("cnn", 20) as learner:
        done = edgecl.to_onnx(learner, tmp_path / "o.onnx", int8=True)
        assert done.drop is not None and done.drop.float32 >= 0.9 and done.drop.float32 - done.drop.int8 <= 0.02
        assert done.drop.calibrated + done.drop.held == 60
    ops = {node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= ops
    assert json.loads(metadata(tmp_path / "o.onnx")["edgecl.int8"])["held"] == done.drop.held
    network = edgecl.from_onnx(tmp_path / "o.onnx")
    assert network.labels == list(LABELS)
    x, y = pictures(30, seed=5)
    with edgecl.Learner(network) as again:
        assert np.mean([a == b for a, b in zip(again.predict(x), y)]) >= 0.9


def test_what_predicts_something_else_leaves_nothing(tmp_path):
    with learned() as learner:
        found = of_core(learner.core, learner.labels)
        wrong = replace(found, predict=lambda x: found.predict(x) + 1)
        for int8 in (False, True):
            with pytest.raises(EdgeclError, match="differs"):
                export(wrong, tmp_path / "o.onnx", int8=int8, allow_drop=False)
    assert list(tmp_path.iterdir()) == []


HEADS = [
    {"method": "ncm"}, {"method": "ncm", "normalise": False}, {"method": "slda"},
    {"method": "ridge"}, {"method": "ridge", "random_features": 64}, {"method": "icarl"},
    {"method": "bic"},
]  # fmt: skip


def taught_twice(how):
    """A learner whose third class came in a second task, and the answers it gives."""
    learner = edgecl.Learner("cnn", input_shape=(1, 12, 12), memory=60, lr=0.05, **how)
    x, y = pictures(90)
    y = np.array(y)
    for part in (y != LABELS[2], y == LABELS[2]):
        learner.observe(x[part], list(y[part]))
        learner.learn(epochs=3)
        learner.end_task()
    return learner


@pytest.mark.parametrize("how", HEADS, ids=lambda h: "-".join(map(str, h.values())))
def test_a_head_of_a_methods_own_leaves_as_a_linear_layer(how, tmp_path):
    x, _ = pictures(30, seed=5)
    with taught_twice(how) as learner:
        done = edgecl.to_onnx(learner, tmp_path / "o.onnx")
        assert done.runtime.startswith("onnxruntime") and done.n >= 16
        answers, scores = learner.predict(x), learner.core.scores(x)
    labels = json.loads(metadata(tmp_path / "o.onnx")["edgecl.labels"])
    found = outputs(tmp_path / "o.onnx", x)
    assert [labels[k] for k in found.argmax(1)] == answers
    off = found - scores[:, [LABELS.index(v) for v in labels]]  # a number that all classes of a sample share may differ
    assert np.abs(off - off.mean(1, keepdims=True)).max() <= 1e-3 * np.abs(found).max()
    assert edgecl.from_onnx(tmp_path / "o.onnx").labels == labels


def test_a_cosine_head_leaves_with_the_classes_that_were_learned(tmp_path):
    graph = build("cnn", (1, 12, 12), 5, head="cosine")
    x, _ = pictures(30, seed=5)
    with learned(edgecl.Network(graph)) as learner:
        edgecl.to_onnx(learner, tmp_path / "o.onnx")
        assert [LABELS[k] for k in outputs(tmp_path / "o.onnx", x).argmax(1)] == learner.predict(x)


class Doubtful(edgecl.methods.Naive):
    """Scores that no linear layer gives."""

    name = "doubtful"

    def scores(self, outs, seen_units=None):
        return -np.abs(super().scores(outs, seen_units))


class Crooked(NCM):
    """Scores that are not those of the linear layer it inherits."""

    name = "crooked"

    def score(self, solved, features):
        return np.sign(super().score(solved, features))


def test_what_a_file_cannot_hold_is_refused_by_name(tmp_path):
    with learned(method="naive") as learner, pytest.raises(BadInput, match="no samples to calibrate"):
        edgecl.to_onnx(learner, tmp_path / "o.onnx", int8=True)
    with learned(method="naive") as learner:
        learner.core.parts.method.__class__ = Doubtful
        with pytest.raises(BadInput, match="'doubtful' predicts by more than a linear layer"):
            edgecl.to_onnx(learner, tmp_path / "o.onnx")
    with taught_twice({"method": "ncm"}) as learner:
        learner.core.parts.method.__class__ = Crooked
        with pytest.raises(EdgeclError, match="'crooked' does not score as it does"):
            edgecl.to_onnx(learner, tmp_path / "o.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_learner_without_a_lesson_and_other_values_are_refused(tmp_path):
    with edgecl.Learner("mlp", input_shape=(4,), dtype="float32") as fresh:
        with pytest.raises(BadInput, match="Nothing has been learned"):
            edgecl.to_onnx(fresh, tmp_path / "o.onnx")
        with pytest.raises(BadInput, match="cannot be exported"):
            edgecl.to_onnx(3, tmp_path / "o.onnx")


def test_the_command_exports_runs_saved_learners_and_networks(stream, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--stream", stream, "--network", "mlp", "--batch", "16", "--memory", "40", "--epochs", "2"]
    assert main(["run", *options, "--method", "er", "--out", "run"]) == 0
    with learned(path=tmp_path / "saved") as learner:
        learner.save()
        learner.core.network.save(tmp_path / "box.edgecl")
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
    for source in ("run", "saved", "box.edgecl"):
        capsys.readouterr()
        assert main(["export", source, "--onnx", f"{source}.onnx", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["runtime"].startswith("onnxruntime") and said["max_abs"] <= 1e-4
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before
    assert json.loads(metadata("run.onnx")["edgecl.labels"]) == [0, 1, 2, 3]
    assert json.loads(metadata("run.onnx")["edgecl.training"])["finished"] == "completed"
    for source, word in (("nowhere", "holds no run"), (".", "holds no run")):
        assert main(["export", source, "--onnx", "x.onnx"]) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()
