"""Who runs the prefix: the contract, onnxruntime, the rule of auto, a plugin's executor."""

import time

import numpy as np
import pytest
from nets import SHAPE, SMALL, pictures, pretrained

import edgecl
from edgecl.errors import BadInput
from edgecl.fronts import Backbone
from edgecl.fronts.backbone import folded_prefix
from edgecl.fronts.executors import EXECUTORS, Executor, Native, OnnxRuntime
from edgecl.fronts.executors import choosing as rule
from edgecl.fronts.executors.trial import Trial, tried
from edgecl.testing import check_executor


class Numpy(Executor):
    """A plugin's executor: the operators' plain reference, a sample at a time."""

    name, contract = "plain", 1

    def open(self, prefix):
        self.prefix = prefix
        self.parts = {"weights": 4 * sum(w.size for w in prefix.weights.values())}

    def __call__(self, x):
        from edgecl.graph.registry import operator

        graph, found = self.prefix.graph, []
        for sample in x:
            tensors = {graph.input: sample[None]}
            for node in graph.nodes:
                local = {p.rpartition(".")[2]: self.prefix.weights[p] for p in node.parameters}
                inputs = [tensors[i] for i in node.inputs]
                tensors[node.output] = operator(node.op).forward(inputs, local, node.attributes, False)[0]
            found.append(tensors[graph.logits][0])
        return np.stack(found).astype(np.float32)


@pytest.fixture
def plain():
    before = dict(EXECUTORS.loaded()), dict(EXECUTORS._origins)
    EXECUTORS.register(Numpy)
    yield
    EXECUTORS._entries, EXECUTORS._origins = before


def test_our_kernels_keep_the_contract():
    check_executor(Native)


def test_onnxruntime_keeps_the_contract():
    pytest.importorskip("onnxruntime")
    check_executor(OnnxRuntime)


def test_a_plugin_s_executor_keeps_it_and_is_used_by_name(plain, tmp_path):
    check_executor(Numpy)
    base = {"backbone": pretrained(), "cut": "sum", **SMALL, "executor": "plain", "path": tmp_path / "p"}
    with edgecl.Learner(**base) as learner:
        learner.observe(pictures(0, 8), 0)
        learner.learn()
        assert learner.core.facts()["front"]["executor"] == "plain 1"
        assert learner.plan.growth["front_weights"] == sum(4 * s for s in (3 * 72 + 8, 576 + 8, 576 + 8))
        learner.save()
    del EXECUTORS._entries["plain"]
    with pytest.raises(BadInput, match="executor 'plain'"):
        edgecl.Learner.open(tmp_path / "p")


class Batched(Numpy):
    def __call__(self, x):
        found = super().__call__(x)
        return found + np.float32(1e-5 * len(x)) * np.abs(found).max()


class Half(Numpy):
    def __call__(self, x):
        return super().__call__(x).astype(np.float16)


class Wrong(Numpy):
    def __call__(self, x):
        return super().__call__(x) * np.float32(1.01)


class Silent(Numpy):
    def open(self, prefix):
        super().open(prefix)
        self.parts = {}


class Old(Numpy):
    contract = 0


class Absent(Numpy):
    @classmethod
    def missing(cls):
        return "a device"


class Nameless(Numpy):
    @classmethod
    def identity(cls):
        return "something"


class OfItsPlace(Numpy):
    """Right for a sample alone, and for the first of many."""

    def __call__(self, x):
        found = super().__call__(x)
        found[1:] *= np.float32(1 + 1e-6)
        return found


class OneBuffer(Numpy):
    def __call__(self, x):
        found = super().__call__(x)
        if getattr(self, "held", None) is None or self.held.shape[1:] != found.shape[1:]:
            self.held = np.empty((64, *found.shape[1:]), np.float32)
        self.held[: len(x)] = found
        return self.held[: len(x)]


class OneThread(Numpy):
    """Right for one thread."""

    def __call__(self, x):
        self.scratch = super().__call__(x)
        time.sleep(0.001)
        return self.scratch.copy()


class WritesIntoSamples(Numpy):
    def __call__(self, x):
        x += 0
        return super().__call__(x)


class NegativeBytes(Numpy):
    def open(self, prefix):
        super().open(prefix)
        self.parts = {"weights": -1}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OfItsPlace, "other bits for a sample alone"), (OneBuffer, "every result in the same memory"),
        (OneThread, "while other threads"), (WritesIntoSamples, "writes into the samples"),
        (NegativeBytes, "declares the bytes"), (Batched, "other bits for a sample alone"),
        (Half, "gives float16"), (Wrong, "differs from our kernels"),
        (Silent, "neither says its bytes"), (Old, "has contract 0"), (Absent, "needs a device"),
        (Nameless, "calls itself 'something'"), (lambda: 3, "is no Executor"),
    ],
)  # fmt: skip
def test_each_broken_promise_is_caught_and_said(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_executor(fault)


def test_onnxruntime_gives_nearly_the_latents_of_our_kernels_and_another_digest():
    pytest.importorskip("onnxruntime")
    x = np.concatenate([pictures(u, 5) for u in range(4)])
    one, other = (
        Backbone(model=pretrained(), cut="sum", latent="float16", executor=e).placed(SHAPE, "uint8")
        for e in ("native", "onnxruntime")
    )
    np.testing.assert_allclose(one(x).astype(float), other(x).astype(float), rtol=2e-3, atol=2e-3)
    assert one.digest != other.digest and other.about()["executor"].startswith("onnxruntime 1.")
    assert other.facts()["bytes_measured_in_a_trial"] and other.bytes_apart["measured"] > 1e6


def test_a_trial_is_made_once_for_a_prefix(monkeypatch):
    prefix = folded_prefix(pretrained(3), "sum")
    found = tried(prefix, Native())
    assert 0 < found.milliseconds < 1000 and 0 <= found.bytes < 50e6
    monkeypatch.setattr("edgecl.fronts.executors.trial._child", lambda *a: pytest.fail("tried again"))
    assert tried(prefix, Native()) == found


@pytest.mark.parametrize(
    ("theirs", "room", "wins", "because"),
    [
        (Trial(50_000_000, 2.0), None, "onnxruntime", "faster"),
        (Trial(50_000_000, 2.0), 60_000_000, "onnxruntime", "faster"),
        (Trial(50_000_000, 2.0), 40_000_000, "native", "does not fit into 40 MB"),
        (Trial(50_000_000, 9.0), None, "native", "as fast"),
    ],
)
def test_auto_takes_onnxruntime_where_it_fits_and_is_faster(theirs, room, wins, because, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "missing", classmethod(lambda cls: None))
    trials = {"native": Trial(30_000_000, 5.0), "onnxruntime": theirs}
    monkeypatch.setattr(rule, "tried", lambda prefix, executor: trials[executor.name])
    monkeypatch.setattr(rule, "find_spec", lambda name: True)
    found = rule.chosen("auto", folded_prefix(pretrained(), "sum"), room)
    assert found.executor.name == wins and because in found.reason and found.trials == trials
    assert "30 MB" in found.reason and "50 MB" in found.reason


def test_auto_is_tried_and_said_in_the_record(stream, file, tmp_path):
    pytest.importorskip("onnxruntime")
    from edgecl.run import run

    options = {**SMALL, "stream": stream, "epochs": 1, "backbone": file, "cut": "sum", "executor": "auto"}
    record = run(options)
    front = record["front"]
    assert record["plan"]["choices"] == [f"the backbone runs on {front['executor']}: {front['chosen_because']}"]
    assert set(front["trials"]) == {"native", "onnxruntime"} and "ms a sample" in front["chosen_because"]
    assert front["executor"].partition(" ")[0] in front["trials"]
