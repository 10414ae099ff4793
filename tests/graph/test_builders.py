"""Every network builds, has the published size, survives JSON, and refuses streams that do not suit it."""

import json
import math

import numpy as np
import pytest

from edgecl.compiler import weight_costs
from edgecl.errors import BadInput
from edgecl.graph import Graph, operator
from edgecl.graph.builders import build, builders

SHAPES = {"mlp": (1, 28, 28), "cnn1d": (6, 1, 128), "ds_cnn": (1, 49, 10), "inceptiontime": (6, 1, 48), "tcn": (6, 1,
          40),
          "gru": (6, 1, 20), "kwt_tiny": (1, 12, 9)}  # fmt: skip
NO_NORM = ("gru", "kwt_tiny")  # they normalise by layers, or not at all
SMALL = {"mlp": {"hidden": (5,)}, "cnn": {"widths": (2, 3, 4)}, "cnn1d": {"widths": (2, 3, 4)},
         "resnet20": {"width": 2}, "resnet18": {"width": 2}, "mobilenetv2": {"width": 0.1},
         "ds_cnn": {"width": 2, "blocks": 2}, "cnn221": {"widths": (2, 3, 4)}, "mobilenetv3_small": {"width": 0.1},
         "efficientnet_lite0": {}, "mobilenetv4_conv_small": {}, "inceptiontime": {"width": 2, "blocks": 3},
         "conv_tail": {"width": 6},
         "tcn": {"width": 3, "depth": 2}, "gru": {"hidden": 3}, "kwt_tiny": {"width": 4, "depth": 1}}  # fmt: skip


def network(name, shape=None, classes=10, **options):
    return build(name, shape or SHAPES.get(name, (1, 28, 28)), classes, **options)


def weights(graph, names=None):
    return sum(p.size for p in graph.parameters.values() if p.role == "weight" and (names is None or p.name in names))


def forward(graph, x):
    """Logits by the numpy references alone."""
    rng = np.random.default_rng(0)
    values = {graph.input: x}
    for node in graph.nodes:
        params = {n.rpartition(".")[2]: rng.random(graph.parameters[n].shape) for n in node.parameters}
        y, _ = operator(node.op).forward([values[i] for i in node.inputs], params, node.attributes, False)
        assert y.shape[1:] == graph.shapes[node.output], node.name
        values[node.output] = y
    return values[graph.logits]


def test_the_list_of_networks():
    assert set(builders()) >= {
        "mlp", "cnn", "resnet20", "resnet18", "mobilenetv2", "cnn1d", "ds_cnn", "cnn221", "mobilenetv3_small",
        "efficientnet_lite0", "mobilenetv4_conv_small", "inceptiontime", "tcn", "gru", "kwt_tiny", "conv_tail",
    }  # fmt: skip


@pytest.mark.parametrize("name, shape, classes, count", [
    ("mobilenetv3_small", (3, 224, 224), 1000, 2_542_856), ("efficientnet_lite0", (3, 224, 224), 1000, 4_652_008),
    ("mobilenetv4_conv_small", (3, 224, 224), 1000, 3_774_024), ("cnn221", (1, 28, 28), 10, 56_554),
    ("conv_tail", (112, 6, 6), 10, 31_754),
])  # fmt: skip
def test_networks_have_the_published_number_of_parameters(name, shape, classes, count):
    graph = build(name, shape, classes)
    assert sum(p.size for p in graph.parameters.values() if p.trained) == count


@pytest.mark.parametrize("name", builders())
def test_a_cosine_head_gives_cosines_times_one_scale(name):
    graph = network(name, classes=3, head="cosine", **SMALL[name])
    x = np.random.default_rng(1).integers(0, 256, (2, *graph.input_shape)).astype(np.uint8)
    assert forward(graph, x).shape == (2, 3) and graph.classes == 3
    assert np.abs(forward(graph, x)).max() <= 1  # the scale is drawn below one here


@pytest.mark.parametrize("name", builders())
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_shapes_are_what_the_operators_produce(name, norm):
    if name in NO_NORM:
        norm = None
    graph = network(name, norm=norm, classes=3, **SMALL[name])
    x = np.random.default_rng(1).integers(0, 256, (2, *graph.input_shape)).astype(np.uint8)
    assert forward(graph, x).shape == (2, 3) and graph.classes == 3
    assert norm is None or any(n.op == f"{norm}_norm" for n in graph.nodes)


@pytest.mark.parametrize("name", builders())
def test_first_and_last_node_and_dense_ends(name):
    graph = network(name)
    first, last = graph.nodes[0], graph.nodes[-1]
    assert (first.op, first.name, first.inputs) == ("normalise", "input_norm", ("input",))
    assert (last.op, last.output, graph.logits) == ("linear", "logits", "logits")
    assert len(graph.shapes[graph.notes["features"]]) == 1
    prunable = graph.prunable()
    assert prunable and all(graph.parameters[n].role == "weight" for n in prunable)
    assert "logits.weight" not in prunable
    first_weight = next(p.name for p in graph.parameters.values() if p.role == "weight")
    assert name in ("mlp", "conv_tail") or first_weight not in prunable  # these have no other layer


@pytest.mark.parametrize("name", builders())
def test_json_round_trip(name):
    graph = network(name)
    text = json.dumps(graph.to_json())
    again = Graph.from_json(json.loads(text))
    assert again == graph
    assert json.dumps(again.to_json()) == text


def test_resnet18_has_the_sizes_of_the_sparcl_paper():
    graph = network("resnet18", (3, 32, 32))
    macs = sum(graph.parameters[c.name].size * c.positions for c in weight_costs(graph))
    assert weights(graph) == 11_164_352
    assert len(graph.prunable()) == 16
    assert weights(graph, graph.prunable()) == 10_985_472
    assert round(macs / 1e5) == 5554
    large = network("resnet18", (3, 64, 64))
    macs = sum(large.parameters[c.name].size * c.positions for c in weight_costs(large))
    assert round(macs / 1e5) == 22217  # the head runs once whatever the size, so not quite four times


def test_resnet18_agrees_layer_by_layer_with_the_hand_count():
    graph = network("resnet18", (3, 32, 32))
    stages = [(64, 64, 32), (64, 128, 16), (128, 256, 8), (256, 512, 4)]
    by_hand = 3 * 64 * 9 * 32 * 32 + 512 * 10
    for i, o, size in stages:
        by_hand += (i * o * 9 + 3 * o * o * 9 + (i * o if i != o else 0)) * size * size
    assert by_hand == sum(graph.parameters[c.name].size * c.positions for c in weight_costs(graph))


def test_resnet20_has_0_27_million_weights_and_18_sparse_tensors():
    graph = network("resnet20", (3, 32, 32))
    assert 0.268e6 < weights(graph) < 0.275e6
    assert len(graph.prunable()) == 18
    assert all(graph.parameters[n].shape[2:] == (3, 3) for n in graph.prunable())


def test_cnn_and_cnn1d_are_small():
    assert 60_000 <= weights(network("cnn")) <= 150_000
    assert weights(network("cnn1d", classes=6)) < 60_000


def test_mobilenetv2_prunes_pointwise_convolutions_only():
    graph = network("mobilenetv2", (3, 32, 32))
    shapes = [graph.parameters[n].shape for n in graph.prunable()]
    assert all(s[2:] == (1, 1) for s in shapes)
    depthwise = [n for n in graph.nodes if n.op == "conv2d" and n.attributes["groups"] > 1]
    assert len(depthwise) == 17
    assert all(graph.parameters[n.parameters[0]].shape[1] == 1 for n in depthwise)
    assert 2.1e6 < weights(graph) < 2.4e6


def test_ds_cnn_is_the_small_network_of_hello_edge():
    graph = network("ds_cnn", classes=12)
    assert graph.shapes["stem_relu"] == (64, 25, 5)
    assert [graph.parameters[n].shape for n in graph.prunable()] == [(64, 64, 1, 1)] * 4
    macs = sum(graph.parameters[c.name].size * c.positions for c in weight_costs(graph))
    assert weights(graph) == 64 * 40 + 4 * (64 * 9 + 64 * 64) + 64 * 12
    assert round(macs / 1e5) == 27  # the paper counts 5.4 million operations, two a multiply


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2"])
def test_28_pixels_become_32_and_it_is_recorded(name):
    graph = network(name, **SMALL[name])
    assert graph.nodes[0].attributes["pad"] == 2
    assert graph.notes["padded"] == {"from": [1, 28, 28], "to": [1, 32, 32]}
    assert graph.shapes["input_norm"] == (1, 32, 32)
    other = network(name, (3, 32, 32), **SMALL[name])
    assert other.nodes[0].attributes["pad"] == 0 and "padded" not in other.notes


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (33, 47), (96, 96)])
@pytest.mark.parametrize("name", ["cnn", "resnet20", "resnet18", "mobilenetv2", "ds_cnn"])
def test_images_of_any_size(name, size):
    graph = network(name, (3, *size), **SMALL[name])
    assert all(min(s) >= 1 for s in graph.shapes.values())


def test_normalisation_constants_are_per_channel_in_raw_units():
    attributes = network("cnn", (3, 28, 28)).nodes[0].attributes
    assert (attributes["mean"], attributes["std"]) == ([0.0] * 3, [255.0] * 3)
    attributes = network("cnn", (3, 28, 28), input_dtype="float32", mean=[1, 2, 3], std=4).nodes[0].attributes
    assert (attributes["mean"], attributes["std"]) == ([1.0, 2.0, 3.0], [4.0] * 3)
    with pytest.raises(BadInput, match="2 means"):
        network("cnn", (3, 28, 28), mean=[1, 2])


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_dropout_is_an_option(name):
    assert any(n.op == "dropout" and n.attributes["p"] == 0.5 for n in network(name, dropout=0.5).nodes)
    with pytest.raises(BadInput):
        network(name, dropout=1.0)


@pytest.mark.parametrize(
    "name, shape",
    [
        ("cnn", (6, 1, 128)),
        ("cnn", (784,)),
        ("resnet20", (6, 1, 128)),
        ("resnet18", (3, 4, 4)),
        ("mobilenetv2", (561,)),
        ("cnn1d", (1, 28, 28)),
        ("cnn1d", (6, 1, 2)),
    ],
)
def test_a_stream_that_does_not_suit_the_network_is_refused(name, shape):
    with pytest.raises(BadInput) as error:
        network(name, shape)
    assert name in error.value.cause and str(shape) in error.value.cause
    assert "mlp" in error.value.remedy


@pytest.mark.parametrize("shape", [(), (3, 3), (1, 0, 4), (1, 2, 3, 4)])
def test_shapes_that_are_no_samples_are_refused(shape):
    with pytest.raises(BadInput):
        build("mlp", shape, 10)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(BadInput, match="Did you mean 'resnet20'"):
        network("resnet2O")
    with pytest.raises(BadInput, match="Did you mean 'widths'"):
        network("cnn", width=(8, 8, 8))
    with pytest.raises(BadInput, match="layer"):
        network("cnn", norm="layer")
    with pytest.raises(BadInput):
        network("cnn", classes=0)


def test_a_misfit_names_the_node():
    graph = network("mlp", (561,), classes=6)
    assert math.prod(graph.input_shape) == 561
    from edgecl.graph import GraphBuilder

    g = GraphBuilder("bad", (1, 4, 4))
    with pytest.raises(BadInput, match=r"At 'fc'.*'linear'"):
        g.add("linear", [g.input], name="fc", out=0)
