"""Cutting a graph in two: where it is allowed, and that the two halves are the whole."""

import json

import numpy as np
import pytest
from nets import SHAPE, graph, pictures, pretrained

from edgecl.__main__ import main
from edgecl.acceptance import engine_of
from edgecl.engine.model import Model
from edgecl.errors import BadInput
from edgecl.fronts.backbone import folded_prefix, prefix_flops
from edgecl.fronts.cuts import list_cuts, natural_cuts
from edgecl.graph import GraphBuilder
from edgecl.graph.builders import build
from edgecl.graph.check import check_graph
from edgecl.graph.cut import cut_points, prefix_of, tail_of
from edgecl.graph.fold import fold_norms
from edgecl.graph.ranges import bounds, normalised_range
from edgecl.network import Network


def predicted(network, x):
    return engine_of(network, len(x)).forward({network.graph.input: x}, training=False)["logits"]


def test_only_tensors_that_every_way_passes_are_cut_points():
    points = cut_points(graph())
    assert points[0] == "stem" and points[-1] == "pooled" and "sum" in points
    assert not {"first", "first_norm", "first_act", "second", "second_norm", "in", "logits"} & set(points)


def test_what_parameters_alone_make_closes_no_way():
    g = GraphBuilder("own", (4,), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 4, std=[1.0] * 4)
    gain = g.add("parameter", [], name="gain", shape=[4], init="ones")
    x = g.add("mul", [x, gain], name="scaled")
    x = g.add("mul", [x, gain], name="again")
    whole = g.build(g.add("linear", [x], name="logits", out=2, bias=True))
    assert cut_points(whole) == ("scaled", "again")
    tail = check_graph(tail_of(whole, "scaled", "float32", (0.0,) * 4, (1.0,) * 4))
    assert "gain.value" in tail.parameters or any(p.startswith("gain") for p in tail.parameters)


@pytest.mark.parametrize("tensor", ["stem_act", "sum", "last_norm", "pooled"])
def test_the_tail_of_the_prefix_is_the_whole(tensor):
    network, x = pretrained(), pictures(1, 5)
    prefix = folded_prefix(network, tensor)
    assert all(p.frozen and not p.prunable for p in prefix.graph.parameters.values())
    assert not any(n.op == "batch_norm" for n in prefix.graph.nodes)
    channels = network.graph.shapes[tensor][0]
    tail = tail_of(network.graph, tensor, "float32", (0.0,) * channels, (1.0,) * channels)
    behind = Network(tail, {n: network.weights[n] for n in tail.parameters})
    np.testing.assert_allclose(predicted(behind, predicted(prefix, x)), predicted(network, x), rtol=1e-4, atol=1e-4)
    sizes = [sum(p.size for p in g.parameters.values()) for g in (prefix_of(network.graph, tensor), tail)]
    assert sum(sizes) == sum(p.size for p in network.graph.parameters.values())


def test_a_tensor_that_a_way_goes_past_is_refused_with_the_nearest_two():
    with pytest.raises(BadInput, match=r"a way .* goes past it.*'stem_act' or 'sum'"):
        prefix_of(graph(), "first_act")
    with pytest.raises(BadInput, match="Unknown tensor to cut at 'poold'"):
        prefix_of(graph(), "poold")


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv3_small", "efficientnet_lite0", "ds_cnn"])
def test_folding_norms_changes_no_prediction_and_leaves_a_sound_graph(name):
    shape = (1, 49, 10) if name == "ds_cnn" else (3, 32, 32)
    whole, rng = build(name, shape, 4, input_dtype="float32"), np.random.default_rng(0)
    model = Model(whole, rng)
    weights = {n: model[n].dense().copy() for n in whole.parameters}
    for n in weights:
        if ".running_" in n or "norm" in n:
            weights[n] = rng.uniform(0.5, 2, weights[n].shape).astype(np.float32)
    folded, values = fold_norms(whole, weights)
    assert check_graph(folded) == folded
    assert sum(n.op == "batch_norm" for n in folded.nodes) == 0 < sum(n.op == "batch_norm" for n in whole.nodes)
    x = rng.normal(size=(3, *shape)).astype(np.float32)
    one, other = predicted(Network(whole, weights), x), predicted(Network(folded, values), x)
    np.testing.assert_allclose(one, other, atol=2e-4 * np.abs(one).max())
    own = {n: w.copy() for n, w in weights.items()}
    in_place, same = fold_norms(whole, own, consume=True)
    assert in_place == folded and all(same[n].tobytes() == w.tobytes() for n, w in values.items())
    layer = next(n for n in folded.nodes if n.op == "conv2d").parameters[0]
    assert np.shares_memory(same[layer], own[layer])  # nothing is held twice


def test_a_norm_that_cannot_be_folded_stays():
    g = GraphBuilder("own", (2, 6, 6), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 2, std=[1.0] * 2)
    c = g.add("conv2d", [x], name="conv", out=4, kernel=[1, 1])
    n = g.add("batch_norm", [c], name="norm")
    x = g.add("add", [c, n], name="sum")  # the convolution has another reader
    x = g.add("batch_norm", [x], name="behind_sum")
    whole = g.build(g.add("global_avg_pool", [x], name="pooled"))
    folded, _ = fold_norms(whole, {p: np.ones(s.shape) for p, s in whole.parameters.items()})
    assert [n.name for n in folded.nodes] == [n.name for n in whole.nodes]


def test_what_a_graph_says_of_its_values():
    network = pretrained()
    assert bounds(network.graph, "stem_act") == (0.0, 6.0) == bounds(network.graph, "pooled")
    assert bounds(network.graph, "sum") == (-np.inf, np.inf)
    low, high = normalised_range(network.graph, network.weights, "last_norm")
    prefix = prefix_of(network.graph, "last_norm")
    values = predicted(Network(prefix, {n: network.weights[n] for n in prefix.parameters}), pictures(2, 30))
    assert (values.min(axis=(0, 2, 3)) >= low).all() and (values.max(axis=(0, 2, 3)) <= high).all()
    assert normalised_range(network.graph, network.weights, "logits") is None


def test_the_list_of_cuts_has_bytes_and_flops_counted_by_hand():
    found = {f.tensor: f for f in list_cuts(graph(), 4)}
    assert tuple(found) == natural_cuts(graph()) == ("stem_act", "sum", "last_act", "pooled")
    stem, block, last = 2 * 27 * 8 * 144, 2 * 2 * 72 * 8 * 144, 2 * 72 * 16 * 144
    assert [f.prefix_flops for f in found.values()] == [stem, stem + block, stem + block + last, stem + block + last]
    assert [f.tail_flops for f in found.values()] == [block + last + 128, last + 128, 128, 128]
    assert found["sum"].bytes == {"int8": 1152, "float16": 2304, "float32": 4608}
    assert found["pooled"].bytes == {"uint8": 16, "float16": 32, "float32": 64}
    assert found["pooled"].tail_parameters == 16 * 4 + 4 and found["pooled"].shape == (16,)
    sizes = [f.tail_training_bytes for f in found.values()]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 4 * 68


def test_the_command_lists_cuts_of_files_and_known_backbones(file, capfd):
    assert main(["import", file, "--list-cuts"]) == 0
    shown = capfd.readouterr().out
    assert "stem_act" in shown and "8x12x12" in shown and "1,152" in shown and "first_act" not in shown
    assert main(["import", "efficientnet_lite0", "--list-cuts", "--json", "--input", "3x96x96"]) == 0
    rows = {r["name"]: r for r in json.loads(capfd.readouterr().out) if r["name"]}
    assert {n: (tuple(r["shape"]), r["bytes"]["float16"]) for n, r in rows.items()} == {
        "block5": ((40, 12, 12), 11520), "block11": ((112, 6, 6), 8064), "pooled": ((1280,), 2560),
    }  # fmt: skip
    assert main(["import", "nothing.edgecl", "--list-cuts"]) == 2
    assert "There is no network" in capfd.readouterr().err


def test_a_file_holds_the_usual_cut_and_its_calibration(tmp_path, capfd):
    onnx = pytest.importorskip("onnx")
    assert onnx
    from edgecl.exporting import to_onnx

    to_onnx(pretrained(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", pictures(0, 12))
    words = ["import", str(tmp_path / "net.onnx"), "-o", str(tmp_path / "net.edgecl"), "--classes", "3"]
    made = Network.load(str(tmp_path / "net.edgecl")) if main([*words, "--check"]) else None
    assert made is None
    assert main([*words, "--calibrate", str(tmp_path / "x.npy")]) == 2
    assert "without a place to cut" in capfd.readouterr().err
    assert main([*words, "--list-cuts", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    cut = next(r["tensor"] for r in rows if r["shape"] == [8, 12, 12] and "int8" in r["bytes"])
    assert main([*words, "--cut", cut, "--calibrate", str(tmp_path / "x.npy")]) == 0
    about = Network.load(tmp_path / "net.edgecl").about
    assert about["cut"] == cut and len(about["latents"][cut]["low"]) == 8 and about["latents"][cut]["samples"] == 12
    assert main([*words, "--cut", "nowhere"]) == 2


def test_flops_of_a_prefix_are_those_of_the_engine_that_runs_it():
    prefix = folded_prefix(pretrained(), "sum")
    engine = engine_of(prefix, 2)
    engine.forward({"input": pictures(0, 2)}, training=False)
    assert engine.meters.forward_flops == 2 * prefix_flops(prefix.graph)
    assert prefix.graph.input_shape == SHAPE
