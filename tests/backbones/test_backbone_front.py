"""A backbone as a front: what it computes, what is stored, what it is known by, what it refuses."""

import numpy as np
import pytest
from nets import SHAPE, SMALL, pictures, pretrained

import edgecl
from edgecl.acceptance import engine_of
from edgecl.errors import BadInput
from edgecl.fronts import Backbone
from edgecl.fronts.calibrating import calibrated
from edgecl.fronts.latents import Latents, scaled
from edgecl.fronts.resizing import Resizing
from edgecl.network import Network
from edgecl.testing import check_front

FORMATS = ("uint8", "int8", "float16")


def placed(**given):
    return Backbone(**{"model": pretrained(), "cut": "sum", "executor": "native", **given}).placed(SHAPE, "uint8")


@pytest.mark.parametrize(("cut", "latent"), [("pooled", "uint8"), ("sum", "int8"), ("last_norm", "float16")])
def test_it_keeps_the_contract_of_a_front(file, cut, latent):
    check_front(lambda: Backbone(model=file, cut=cut, latent=latent, executor="native"), SHAPE, "uint8")


@pytest.mark.parametrize(
    ("cut", "latent", "most"), [("pooled", "uint8", 0.5), ("sum", "int8", 0.5), ("sum", "float16", 0.5)]
)
def test_latents_are_the_tensor_within_half_a_step(cut, latent, most):
    network, x = pretrained(), pictures(0, 6)
    front = placed(cut=cut, latent=latent)
    from edgecl.fronts.backbone import folded_prefix

    prefix = folded_prefix(network, cut)
    exact = engine_of(prefix, 6).forward({"input": x}, training=False)["logits"]
    column = (1, -1) + (1,) * (exact.ndim - 2)
    mean, std = (np.asarray(v).reshape(column) for v in (front.mean, front.std))
    values = (front(x).astype(np.float64) - mean) / std
    step = 1 / std if latent != "float16" else np.maximum(np.abs(exact), 2.0**-14) * 2.0**-10
    assert (np.abs(values - exact) <= most * step * 1.001).all()
    assert front.dtype == {"float16": "float16"}.get(latent, "uint8")


def test_relu6_needs_no_calibration_and_a_sum_has_the_spread_of_its_norms():
    network = pretrained()
    pooled = scaled(network.graph, network.weights, "pooled", "uint8", None)
    np.testing.assert_allclose(pooled.scale, 6 / 255, rtol=1e-6)
    block = scaled(network.graph, network.weights, "sum", "int8", None)
    assert len(set(block.scale.tolist())) == 8
    front = placed()
    front(np.concatenate([pictures(u, 10) for u in range(4)]))
    assert front.facts()["saturated"] == 0


def test_calibration_says_the_scales_and_travels_in_the_file(tmp_path):
    x = np.concatenate([pictures(u, 10) for u in range(4)])
    network = calibrated(pretrained(), "sum", x)
    path = network.save(tmp_path / "net.edgecl")
    front = Backbone(model=str(path), executor="native").placed(SHAPE, "uint8")  # the cut is the file's too
    found = front(x).astype(np.int64) - 128
    assert (np.abs(found).reshape(len(x), 8, -1).max(axis=(0, 2)) == 127).all()
    assert front.digest != placed().digest
    with pytest.raises(BadInput, match="at least 8"):
        calibrated(pretrained(), "sum", x[:5])
    with pytest.raises(BadInput, match="calibrate"):
        calibrated(pretrained(), "sum", x.astype(np.float32))


def test_values_outside_the_range_go_to_the_border_and_are_counted():
    latents = Latents("int8", np.array([0.5, 1.0], np.float32))
    values = np.array([[[10.0, 100.0, -100.0]], [[0.3, -0.6, 127.4]]], np.float32).transpose(1, 0, 2)
    got, outside = latents.encoded(values)
    assert outside == 2
    np.testing.assert_array_equal(got.astype(int)[0] - 128, [[20, 127, -127], [0, -1, 127]])
    got, outside = Latents("float16", np.zeros(0, np.float32)).encoded(np.array([[1e6, 1.0]], np.float32))
    assert outside == 1 and got.tolist() == [[65504.0, 1.0]]
    got, outside = Latents("uint8", np.array([1.0], np.float32)).encoded(np.array([[-0.2], [300.0]], np.float32))
    assert got.tolist() == [[0], [255]] and outside == 1


def test_a_hundredth_outside_is_worth_one_warning():
    low = {"low": [-0.01] * 8, "high": [0.01] * 8}
    network = pretrained()
    narrow = Network(network.graph, network.weights, {"latents": {"sum": low}})
    front = placed(model=narrow)
    x = np.concatenate([pictures(u, 30) for u in range(4)])
    with pytest.warns(UserWarning, match=r"of the latents of 'sum' lie outside their range: calibrate") as said:
        front(x)
        front(x)
    assert len(said) == 1 and front.facts()["saturated"] > 0.5


def test_pictures_are_brought_to_the_size_of_the_backbone():
    grey = np.arange(36, dtype=np.uint8).reshape(1, 6, 6) * 7
    made = Resizing(12, (1, 6, 6), "uint8")(grey)
    assert made.shape == SHAPE and (made[0] == made[1]).all() and (made[1] == made[2]).all()
    assert abs(float(made.mean()) - float(grey.mean())) < 1 and made.min() == grey.min() and made.max() == grey.max()
    shrunk = Resizing(3, (1, 6, 6), "uint8")(grey)
    assert shrunk[0, 1, 1] == np.round(
        np.average(grey[0, 1:5, 1:5].astype(float), weights=np.outer([1, 3, 3, 1], [1, 3, 3, 1]))
    )
    same = Resizing(None, (4, 5), "float32")
    x = np.zeros((4, 5), np.float32)
    assert same(x) is x
    with pytest.raises(BadInput, match="no pictures"):
        Resizing(12, (1, 6, 6), "float32")
    front = Backbone(model=pretrained(), cut="pooled", executor="native", size=12).placed((1, 6, 6), "uint8")
    np.testing.assert_array_equal(front(grey[None]), placed(cut="pooled")(made[None]))


def test_the_digest_is_of_weights_cut_format_and_executor_not_of_the_path(file, tmp_path):
    base = placed(model=file)
    elsewhere = pretrained().save(tmp_path / "other.edgecl")
    assert placed(model=str(elsewhere)).digest == base.digest == placed().digest
    others = [placed(cut="pooled"), placed(latent="float16"), placed(model=pretrained(1))]
    assert len({base.digest, *(o.digest for o in others)}) == 4
    assert base.about()["executor"] == "native 1" and len(base.about()["backbone"]) == 64


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cut": None}, "Nobody says where .* is cut"),
        ({"cut": "first_act"}, "a way from the input to the logits goes past it"),
        ({"cut": "sum", "latent": "uint8"}, "may be negative"),
        ({"latent": "int4"}, "Unknown latent|latent is"),
        ({"executor": "magic"}, "Unknown executor 'magic'"),
        ({"model": "efficientnet_lite9"}, "no known backbone"),
        ({"model": "nothing.edgecl"}, "There is no network"),
        ({"model": None}, "no backbone"),
        ({"model": "small@0123456789ab"}, "was given as a value"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(given, words):
    with pytest.raises(BadInput, match=words) as refused:
        placed(**given)
    assert refused.value.remedy


def test_a_backbone_without_all_its_weights_or_for_other_samples_is_refused():
    network = pretrained()
    some = {n: w for n, w in network.weights.items() if n != "first.weight"}
    with pytest.raises(BadInput, match=r"no weights 'first.weight'"):
        placed(model=Network(network.graph, some))
    with pytest.raises(BadInput, match=r"takes uint8 samples of shape \(3, 12, 12\), not"):
        Backbone(model=network, cut="sum").placed((3, 14, 14), "uint8")


def test_where_nothing_says_a_range_it_asks_for_calibration_or_float16():
    from edgecl.graph import GraphBuilder

    g = GraphBuilder("plain", (4,), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 4, std=[1.0] * 4)
    x = g.add("linear", [x], name="hidden", out=6, bias=True)
    whole = g.build(g.add("linear", [x], name="logits", out=2, bias=True))
    weights = {n: np.ones(p.shape, np.float32) for n, p in whole.parameters.items()}
    network = Network(whole, weights)
    with pytest.raises(BadInput, match=r"Nothing says between which values 'hidden'") as refused:
        Backbone(model=network, cut="hidden", executor="native").placed((4,), "float32")
    assert "calibrate" in refused.value.remedy.lower() and "float16" in refused.value.remedy
    Backbone(model=network, cut="hidden", latent="float16", executor="native").placed((4,), "float32")


def test_options_that_belong_to_a_backbone_are_refused_without_one():
    for given in ({"cut": "sum"}, {"latent": "int8"}, {"executor": "native"}, {"network": "tail"}):
        with pytest.raises(BadInput, match="backbone"):
            edgecl.Learner(**{"network": "cnn", "input_shape": SHAPE, **given})
    with pytest.raises(BadInput, match=r"beside another front|with the front"):
        edgecl.Learner(backbone=pretrained(), cut="sum", front="window", input_shape=SHAPE)
    with pytest.raises(BadInput, match="Augmentation would act on latents"):
        edgecl.Learner(backbone=pretrained(), cut="sum", augment="flip", **SMALL)
