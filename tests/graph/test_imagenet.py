"""Published networks: their sizes are the published ones, and what has no kernel is refused by name and place."""

import json

import numpy as np
import pytest

from edgecl.compiler import compile_plan, weight_costs
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.engine.torch import TorchEngine
from edgecl.errors import BadInput, EdgeclError
from edgecl.graph import Graph, operator, operators
from edgecl.graph.imagenet import imagenet, imagenet_names

# millions of trained parameters, billions of multiply-adds at 224 x 224 (attention included): timm's table
SIZES = {
    "resnet18_imagenet": (11.69, 1.82), "resnet34": (21.80, 3.67), "resnet50": (25.56, 4.11),
    "mobilenetv1": (4.23, 0.57), "mobilenetv2_100": (3.50, 0.30), "mobilenetv2_050": (1.97, 0.10),
    "mobilenetv3_large": (5.48, 0.22), "mobilenetv3_small": (2.54, 0.06), "mnasnet": (4.38, 0.31),
    "squeezenet": (1.24, 0.35), "vgg16": (138.36, 15.47), "vit_tiny": (5.72, 1.26), "vit_small": (22.05, 4.61),
    "vit_base": (86.57, 17.58), "efficientvit_b1": (9.10, 0.52),
}  # fmt: skip
COST_ONLY = {"vit_tiny", "vit_small", "vit_base", "efficientvit_b1"}


def test_every_network_has_its_published_size():
    assert set(imagenet_names()) == set(SIZES)
    for name, (parameters, macs) in SIZES.items():
        g = imagenet(name)
        found = sum(g.parameters[c.name].size * c.positions for c in weight_costs(g))
        found += sum(operator(n.op).macs([g.shapes[i] for i in n.inputs], n.attributes) for n in g.nodes)
        assert sum(p.size for p in g.parameters.values() if p.trained) / 1e6 == pytest.approx(parameters, abs=0.006)
        assert found / 1e9 == pytest.approx(macs, rel=0.05, abs=0.006), name
        assert g.input_shape == (3, 224, 224) and g.classes == 1000
        assert Graph.from_json(json.loads(json.dumps(g.to_json()))) == g


@pytest.mark.parametrize("name", sorted(COST_ONLY))
def test_what_has_no_kernel_is_refused_by_operator_and_place(name):
    graph = imagenet(name, 10, 64)
    first = next(n for n in graph.nodes if operator(n.op).cost_only)
    for make in (lambda: compile_plan(graph, batch=2), lambda: operator(first.op).torch([], {}, {}, True)):
        with pytest.raises(EdgeclError, match=f"'{first.op}'.*no kernel"):
            make()
    with pytest.raises(EdgeclError, match=f"at '{first.name}'"):
        compile_plan(graph, batch=2)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "mnasnet"])
def test_the_others_take_a_training_step_like_torch(name):
    pytest.importorskip("torch")
    graph = imagenet(name, 5, 32)
    plan = compile_plan(graph, batch=4)
    x = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    outs = [kind(Model(graph, np.random.default_rng(1)), plan).forward({graph.input: x})["logits"]
            for kind in (NativeEngine, TorchEngine)]  # fmt: skip
    np.testing.assert_allclose(outs[0], outs[1], rtol=0, atol=2e-3 * np.abs(outs[1]).max())


def test_cost_only_operators_are_not_listed_as_operators():
    assert not any(entry.cost_only for entry in operators().values())
    assert operator("attention").cost_only


def test_attention_counts_its_products_without_weights():
    # 4 tokens of 6 channels in 2 heads: scores 4 x 4 x 6, their sums over values the same
    assert operator("attention").macs([(18, 1, 4)], {"heads": 2, "linear": False}) == 2 * 4 * 4 * 6
    assert operator("attention").macs([(18, 1, 4)], {"heads": 2, "linear": True}) == 2 * 4 * 6 * 3


@pytest.mark.parametrize("op, shapes, attributes", [
    ("attention", [(7, 1, 4)], {"heads": 2, "linear": False}), ("concat", [(2, 4, 4), (2, 3, 4)], {"axis": 0}),
    ("channel_scale", [(4, 2, 2), (3,)], {}), ("tokens", [(4,)], {}),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(op, shapes, attributes):
    with pytest.raises(EdgeclError, match=op):
        operator(op).shape(shapes, attributes)


def test_an_unknown_network_names_the_closest():
    with pytest.raises(BadInput) as error:
        imagenet("resnet-50")
    assert "resnet50" in error.value.remedy
