"""Known backbones: weights read without unpickling, fetched on request alone, refused where they are others."""

import io
import json
import pickle
import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest

import edgecl
from edgecl.__main__ import main
from edgecl.backbones import BACKBONES, Known, getting, network_of, weights_file
from edgecl.backbones.efficientnet import LITE0, _names, lite0, same_padded
from edgecl.backbones.state_dict import MAGIC, PROTOCOL, read_state_dict
from edgecl.checksums import checksum
from edgecl.errors import BadInput, EdgeclError
from edgecl.graph.check import check_graph
from edgecl.graph.cut import cut_points
from edgecl.network import Network


def legacy_file(tensors, path, tail=b""):
    """A file as torch.save wrote it before 2020, made by hand: pickles, then storages."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value.about if isinstance(value, Storage) else None

    class Rebuilt:
        def __init__(self, args):
            self.args = args

        def __reduce__(self):
            return rebuild, self.args

    def named(module, name):
        def call(*args):
            raise AssertionError("never called")

        call.__module__, call.__qualname__, call.__name__ = module, name, name
        return call

    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    kind = named("torch", "FloatStorage")
    import sys
    from types import ModuleType

    modules = {n: ModuleType(n) for n in ("torch", "torch._utils")}
    modules["torch"].FloatStorage, modules["torch._utils"]._rebuild_tensor_v2 = kind, rebuild
    before = {n: sys.modules.get(n) for n in modules}
    sys.modules.update(modules)
    try:
        out, state, keys = io.BytesIO(), {}, {}
        for i, (name, values) in enumerate(tensors.items()):
            storage = Storage()
            storage.about = ("storage", kind, str(i), "cpu", int(values.size), None)
            keys[str(i)] = values
            strides = tuple(s // 4 for s in values.strides)
            state[name] = Rebuilt((storage, 0, values.shape, strides, False, {}))
        for value in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True}):
            pickle.dump(value, out, protocol=2)
        Pickler(out, protocol=2).dump(state)
        pickle.dump(list(keys), out, protocol=2)
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    for values in keys.values():
        out.write(struct.pack("<q", values.size) + np.ravel(values, order="K").astype("<f4").tobytes())
    path.write_bytes(out.getvalue() + tail)
    return path


TENSORS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b.weight": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "c": np.arange(5, dtype=np.float32),
}


def test_tensors_are_read_in_whatever_order_their_axes_lie(tmp_path):
    found = read_state_dict(legacy_file(TENSORS, tmp_path / "net.pth"))
    assert list(found) == list(TENSORS)
    for name, values in TENSORS.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].flags.c_contiguous


def test_a_file_of_torch_itself_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    path = tmp_path / "net.pth"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    found = read_state_dict(path)
    theirs = {k: v.numpy() for k, v in module.state_dict().items() if v.dtype == torch.float32}
    assert found.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_array_equal(found[name], values)
    torch.save(module.state_dict(), path)  # the zip format of today
    with pytest.raises(BadInput, match="cannot be read"):
        read_state_dict(path)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/edgecl-was-here",)


@pytest.mark.parametrize("value", [Evil(), {"a": 1}, [1, 2], {"a": Evil()}, set(), 1.5, b"x"])
def test_whatever_a_pickle_would_call_is_refused_and_never_called(value, tmp_path):
    out = io.BytesIO()
    for part in (MAGIC, PROTOCOL, {"little_endian": True}, value, []):
        pickle.dump(part, out, protocol=2)
    (tmp_path / "net.pth").write_bytes(out.getvalue())
    with pytest.raises(BadInput):
        read_state_dict(tmp_path / "net.pth")


def test_a_damaged_file_is_refused_or_read_and_never_more(tmp_path):
    whole = legacy_file(TENSORS, tmp_path / "net.pth").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "bad.pth").write_bytes(damaged)
        try:
            found = read_state_dict(tmp_path / "bad.pth")
            assert all(v.nbytes <= len(whole) for v in found.values())
        except BadInput:
            refused += 1
    assert refused > 100


def test_efficientnet_lite0_pads_as_tensorflow_does():
    for size in (96, 97, 224):
        graph = check_graph(lite0((3, size, size)))
        stem = next(n for n in graph.nodes if n.name == "stem")
        assert graph.shapes["stem"] == (32, -(-size // 2), -(-size // 2))
        assert stem.attributes["padding"] == ([0, 0, 1, 1] if size % 2 == 0 else [1, 1])
        five = next(n for n in graph.nodes if n.name == "s3b1_depth")
        even = graph.shapes[five.inputs[0]][1] % 2 == 0
        assert five.attributes["padding"] == ([1, 1, 2, 2] if even else [2, 2])
        assert all(n.attributes["eps"] == 1e-3 for n in graph.nodes if n.op == "batch_norm")
    again = same_padded(graph)
    assert again == graph
    assert set(LITE0.cuts.values()) <= set(cut_points(graph))
    with pytest.raises(BadInput, match="96x96"):
        lite0((3, 64, 64))


@pytest.fixture
def faked(tmp_path, monkeypatch):
    """efficientnet_lite0 with random weights in a file of our own, in a cache folder of this test."""
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    graph, rng = lite0((3, 224, 224)), np.random.default_rng(0)
    weights = {
        n: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) * (0.1 if p.role == "weight" else 1)
        for n, p in graph.parameters.items()
    }
    path = legacy_file({theirs: weights[ours].astype(np.float32) for ours, theirs in _names()}, tmp_path / LITE0.file)
    import hashlib

    digest = checksum("", Network(graph, weights).weights)
    known = replace(LITE0, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), digest=digest)
    before = BACKBONES._entries["efficientnet_lite0"]
    BACKBONES._entries["efficientnet_lite0"] = known
    monkeypatch.setattr(getting, "run_in_child", lambda job, **given: job(**given))  # the child knows the real one
    yield path
    BACKBONES._entries["efficientnet_lite0"] = before


def test_weights_are_fetched_on_request_alone_and_then_serve_every_size(faked, capfd):
    assert not weights_file("efficientnet_lite0").exists()
    learner = {"backbone": "efficientnet_lite0", "cut": "pooled", "executor": "native"}
    with pytest.raises(BadInput, match=r"weights of 'efficientnet_lite0' are not here") as refused:
        edgecl.Learner(**learner)
    assert "edgecl models get efficientnet_lite0" in refused.value.remedy and "Apache-2.0" in refused.value.remedy
    assert main(["models", "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)
    assert row["here"] is None and row["licence"] == "Apache-2.0" and row["sha256"] and row["cuts"]["block11"]
    assert main(["models", "get", "efficientnet_lite0", "--from", str(faked)]) == 0
    assert "licence Apache-2.0" in capfd.readouterr().out
    assert main(["models", "list"]) == 0 and "yes" in capfd.readouterr().out
    large, small = (network_of("efficientnet_lite0", (3, s, s), "uint8") for s in (224, 96))
    assert large.weights.keys() == small.weights.keys() and small.graph.input_shape == (3, 96, 96)
    assert large.about["source"]["licence"] == "Apache-2.0"
    with edgecl.Learner(**learner, backbone_size=96, input_shape=(1, 28, 28), memory=8, batch=4) as taught:
        taught.observe(np.zeros((4, 1, 28, 28), np.uint8), [0, 1, 0, 1])
        taught.learn()
        assert taught.core.parts.memory.samples.shape == (8, 1280)


def test_a_file_that_is_another_is_refused_and_nothing_is_written(faked, tmp_path):
    other = tmp_path / "other.pth"
    other.write_bytes(faked.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(EdgeclError, match="expected"):
        getting.get("efficientnet_lite0", str(other))
    with pytest.raises(BadInput, match="There is no file"):
        getting.get("efficientnet_lite0", str(tmp_path / "none.pth"))
    known = BACKBONES._entries["efficientnet_lite0"]
    BACKBONES._entries["efficientnet_lite0"] = replace(known, digest="0" * 64)
    with pytest.raises(BadInput, match="not those that are known"):
        getting.get("efficientnet_lite0", str(faked))
    assert not weights_file("efficientnet_lite0").exists()


def test_unknown_names_and_other_samples_are_refused(faked, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["models", "get", "efficientnet_lite7"]) == 2
    assert "Unknown backbone" in capfd.readouterr().err
    for shape, dtype in (((1, 96, 96), "uint8"), ((3, 96, 96), "float32"), ((96,), "uint8")):
        with pytest.raises(BadInput, match="takes uint8 samples such as"):
            network_of("efficientnet_lite0", shape, dtype)


def test_a_package_offers_a_backbone_of_its_own(network, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path))
    own = Known(
        name="mine", about="a test", licence="MIT", origin="nowhere", download=1, file="f", sha256="0", digest="0",
        shape=network.graph.input_shape, build=lambda shape: network.graph, obtain=lambda work: work,
        read=lambda path: {}, cuts={"middle": "sum"},
    )  # fmt: skip
    before = dict(BACKBONES._entries)
    try:
        BACKBONES.register(own)
        weights_file("mine").parent.mkdir(parents=True)
        network.save(weights_file("mine"))
        with edgecl.Learner(backbone="mine", cut="middle", executor="native", memory=4) as learner:
            assert learner.core.spec.shape == (8, 12, 12)
    finally:
        BACKBONES._entries = before
