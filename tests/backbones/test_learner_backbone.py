"""A Learner on latents: what it holds, saves, opens, forgets, trains anew; another backbone is refused."""

from pathlib import Path

import numpy as np
import pytest
from learner_bits import bits, same
from nets import SHAPE, SMALL, pictures, pretrained

import edgecl
from edgecl import checkpoint
from edgecl.errors import BadInput, MissingExtra
from edgecl.fronts import Backbone
from edgecl.fronts.executors import OnnxRuntime


def taught(learner, tasks=2, left_out=None):
    for task in range(tasks):
        for unit in (2 * task, 2 * task + 1):
            if unit != left_out:
                learner.observe(pictures(unit, 16), unit, task=task, subject=unit)
        learner.learn(epochs=3)
    return learner


@pytest.mark.parametrize("latent", ["uint8", "float16"])
@pytest.mark.parametrize("stored", [False, True], ids=["in RAM", "with a store"])
def test_it_is_the_learner_that_was_given_the_latents(stored, latent, file, tmp_path):
    front = Backbone(model=file, cut="pooled", latent=latent, executor="native").placed(SHAPE, "uint8")
    store = {"store": str(tmp_path / "a")} if stored else {}
    made = edgecl.Learner(backbone=file, cut="pooled", latent=latent, **SMALL, **store)
    tail = front.tail(10)
    with taught(made) as ours:
        memory = ours.core.parts.memory.samples
        assert (memory.shape[1:], memory.dtype.name) == ((16,), front.dtype)
        assert ours.core.parts.config.network == "tail" and ours.spec.shape == SHAPE
        x = pictures(1, 20, 5)
        store = {"store": str(tmp_path / "b")} if stored else {}
        options = {k: v for k, v in SMALL.items() if k != "executor"}
        with edgecl.Learner(tail, classes=10, dtype=front.dtype, **options, **store) as theirs:
            for task in range(2):
                for unit in (2 * task, 2 * task + 1):
                    theirs.observe(front(pictures(unit, 16)), unit, task=task, subject=unit)
                theirs.learn(epochs=3)
            same(bits(ours), bits(theirs))
            np.testing.assert_array_equal(ours.predict(x, proba=True), theirs.predict(front(x), proba=True))
            assert (
                ours.counters["front_flops"] == 64 * front.flops and ours.counters["flops"] == theirs.counters["flops"]
            )
        if stored:
            got = ours.life.store.read(np.arange(3), fields=())["samples"]
            np.testing.assert_array_equal(got, front(pictures(0, 3)))


def test_it_learns_what_it_is_shown():
    with edgecl.Learner(backbone=pretrained(), cut="stem_act", **SMALL) as learner:
        learner.observe(np.concatenate([pictures(u, 16) for u in range(4)]), np.repeat(np.arange(4), 16).tolist())
        learner.learn(epochs=6)
        right = [np.mean(np.array(learner.predict(pictures(u, 20, 7))) == u) for u in range(4)]
        assert np.mean(right) > 0.9, right


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_another_network_than_the_tail_takes_the_latents(network):
    cut = "pooled" if network == "mlp" else "sum"
    with taught(edgecl.Learner(network, backbone=pretrained(), cut=cut, **SMALL)) as learner:
        shape = {"mlp": (16,), "cnn": (8, 12, 12)}[network]
        assert learner.core.parts.engine.model.graph.input_shape == shape
        assert learner.core.parts.engine.model.graph.nodes[0].attributes["std"][0] != 255


@pytest.mark.parametrize("method", ["slda", "ridge", "ncm", "der++", "naive"])
def test_heads_and_methods_work_on_latents(method, file):
    more = {"body": "frozen"} if method in ("slda", "ridge", "ncm") else {}
    options = {**SMALL, "method": method, **({"memory": 0} if more else {}), **more}
    with taught(edgecl.Learner(backbone=file, cut="pooled", **options)) as learner:
        assert learner.predict(pictures(3, 1, 5)[0]) in range(4)


@pytest.mark.parametrize("given", ["file", "value"])
def test_a_saved_learner_goes_on_bit_for_bit(given, file, tmp_path):
    backbone, path = file if given == "file" else pretrained(), tmp_path / "p"
    options = {**SMALL, "store": str(tmp_path / "s"), "path": path, "latent": "int8"}
    with taught(edgecl.Learner(backbone=backbone, cut="sum", **options)) as learner:
        learner.save()
        counted = learner.counters
        learner.learn(steps=4)
        whole = bits(learner)
    saved = checkpoint.load(path)["learner"]["front"]
    assert ("network" in saved["arrays"]) == (given == "value")  # of a file only the digest travels
    with edgecl.Learner.open(path) as again:
        assert again.counters["front_flops"] == counted["front_flops"]
        again.learn(steps=4)
        same(whole, bits(again))
        again.observe(pictures(0, 2), 0)


def test_another_backbone_cut_format_or_executor_is_refused_with_the_remedy(file, tmp_path, monkeypatch):
    store = str(tmp_path / "s")
    base = {"backbone": file, "cut": "sum", **SMALL, "store": store}
    with taught(edgecl.Learner(**base, path=tmp_path / "p")) as learner:
        learner.save()
    for other in ({"cut": "stem_act"}, {"latent": "float16"}, {"backbone": pretrained(1)}):
        with pytest.raises((BadInput, edgecl.EdgeclError)) as refused:
            edgecl.Learner(**{**base, **other})
        assert refused.value.remedy
    with pytest.raises(BadInput, match=r"filled through the front backbone\(.*another folder"):
        edgecl.Learner(**{**base, "backbone": pretrained(1)})
    original = Path(file).read_bytes()
    try:
        pretrained(1).save(file)
        with pytest.raises(BadInput, match=r"front 'backbone' of this saved state is not the one here"):
            edgecl.Learner.open(tmp_path / "p")
    finally:
        Path(file).write_bytes(original)
    from edgecl.fronts.executors import Native

    monkeypatch.setattr(Native, "version", "2")
    with pytest.raises(BadInput, match="not the one here"):
        edgecl.Learner.open(tmp_path / "p")


def test_a_backup_is_restored_where_its_backbone_lies_elsewhere(tmp_path, monkeypatch):
    pretrained().save(tmp_path / "own.edgecl")
    base = {"backbone": str(tmp_path / "own.edgecl"), "cut": "sum", **SMALL, "path": tmp_path / "p"}
    with taught(edgecl.Learner(**base)) as learner:
        learner.backup(tmp_path / "all.backup")
        whole = bits(learner)
        source = learner.core.network.about["source"]
        assert source == {"name": "small", "prefix_sha256": learner.core.facts()["front"]["backbone"]}
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "own.edgecl").rename(tmp_path / "moved")
    with pytest.raises(BadInput, match=r"There is no network .*own\.edgecl") as refused:
        edgecl.Learner.restore(tmp_path / "all.backup", tmp_path / "one")
    assert str(tmp_path / "cache" / "models") in refused.value.remedy
    (tmp_path / "moved").rename(tmp_path / "cache" / "models" / "own.edgecl")
    with edgecl.Learner.restore(tmp_path / "all.backup", tmp_path / "two") as again:
        same(whole, bits(again))


def test_a_damaged_state_of_a_backbone_is_refused():
    front = Backbone(model=pretrained(), cut="sum", executor="native").placed(SHAPE, "uint8")
    good = front.state()
    digest = front.digest
    scales = (np.zeros(8, np.float32), np.ones(7, np.float32), np.full(8, np.nan, np.float32), np.ones(8))
    texts = [np.frombuffer(text, np.uint8) for text in (b"[1]", b"{}", b"\xff\0")]
    bad_states = [
        *(("scale", values) for values in scales), *(("network", text) for text in texts),
        ("executor", np.frombuffer(b"magic 1", np.uint8)), ("weight stem.weight", np.zeros((1, 2), np.float32)),
    ]  # fmt: skip
    for name, value in bad_states:
        with pytest.raises(BadInput):
            bad = Backbone(**front.given)
            bad.load({**good, name: value})
            bad.placed(SHAPE, "uint8")
    again = Backbone(**front.given)
    again.load(good)
    assert again.placed(SHAPE, "uint8").digest == digest


def test_a_subject_is_forgotten_and_trained_without(file, tmp_path):
    def life(name, left_out=None):
        options = {**SMALL, "store": str(tmp_path / name / "s"), "path": tmp_path / name / "p"}
        return taught(edgecl.Learner(backbone=file, cut="sum", **options), left_out=left_out)

    with life("all") as learner, life("without", left_out=3) as other:
        counted = learner.counters["front_flops"]
        learner.retrain_without(3)
        same(bits(learner), bits(other))
        assert learner.counters["front_flops"] == counted == 64 / 48 * other.counters["front_flops"]


def test_the_plan_counts_the_prefix_apart(file):
    with edgecl.Learner(backbone=file, cut="sum", **SMALL) as learner:
        growth = learner.plan.growth
        front = learner.life.setup.front.front
        assert growth["front_weights"] > 4 * (3 * 72 + 2 * 576) and growth["front_activations"] > 4 * 8 * 144
        apart = growth["front_weights"] + growth["front_activations"] + growth["front_objects"]
        assert sum(n for k, n in growth.items() if k.startswith("front")) == front.bytes + 32 * (432 + 1152)
        assert apart < front.bytes and learner.plan.front_flops == front.flops


def test_an_executor_that_is_not_here_is_an_error_that_names_the_extra(file, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "missing", classmethod(lambda cls: "the package 'onnxruntime'"))
    with pytest.raises(MissingExtra, match="needs the package 'onnxruntime'"):
        edgecl.Learner(**{**SMALL, "executor": "onnxruntime"}, backbone=file, cut="sum")
    with edgecl.Learner(**{**SMALL, "executor": "auto"}, backbone=file, cut="sum") as learner:
        about = learner.core.facts()["front"]
        assert about["executor"] == "native 1" and "onnxruntime needs" in about["chosen_because"]
