"""Graph, weights and digest in one value: made, widened, saved, opened, and refused when it is not sound."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from edgecl.checksums import checksum
from edgecl.compiler.extras import trained_parameters
from edgecl.engine.model import Model
from edgecl.errors import BadInput
from edgecl.graph import Graph, GraphBuilder
from edgecl.graph.builders import build, builders
from edgecl.graph.check import check_graph, graph_from_json
from edgecl.graph.widen import head_of, head_parameters, widen_graph
from edgecl.learner import Learner
from edgecl.network import Network, resolve_network

SERIES = dict.fromkeys(("cnn1d", "gru", "tcn", "inceptiontime"), (3, 1, 32))
SHAPES = {**SERIES, "ds_cnn": (1, 49, 10)}
NO_NORM = ("gru", "kwt_tiny")


def graph_of(name: str, classes: int = 4, **options) -> Graph:
    return build(name, SHAPES.get(name, (1, 12, 12)), classes, **options)


def with_weights(graph: Graph, seed: int = 0) -> Network:
    model = Model(graph, np.random.default_rng(seed))
    return Network(graph, {n: model[n].dense() for n in graph.parameters})


def own_graph(head: str = "conv") -> Graph:
    """A network that no builder makes."""
    g = GraphBuilder("own", (2, 6, 6), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0, 0.0], std=[1.0, 1.0])
    x = g.add("conv2d", [x], name="body", out=8, kernel=[3, 3], padding=[1, 1], prunable=True)
    x = g.add("relu", [x], name="act")
    if head == "conv":  # as SqueezeNet ends: class maps, normalised, pooled
        x = g.add("conv2d", [x], name="classes", out=4, kernel=[1, 1], bias=True)
        x = g.add("batch_norm", [x], name="scale")
        return g.build(g.add("global_avg_pool", [x], name="pooled"))
    if head == "groups":
        x = g.add("conv2d", [x], name="classes", out=4, kernel=[1, 1], groups=2)
        return g.build(g.add("global_avg_pool", [x], name="pooled"))
    if head == "flat":  # the number of logits is that of channels times positions
        x = g.add("conv2d", [x], name="classes", out=4, kernel=[1, 1])
        return g.build(g.add("flatten", [x], name="flat"))
    if head == "none":
        return g.build(g.add("global_avg_pool", ["in"], name="pooled"))
    y = g.add("global_avg_pool", [x], name="pooled")
    left, right = (g.add("linear", [y], name=n, out=4) for n in ("left", "right"))
    return g.build(g.add("add", [left, right], name="sum"))


# -- a wider head


@pytest.mark.parametrize("name", builders())
@pytest.mark.parametrize("norm", [None, "group"])
def test_a_widened_built_in_network_is_the_one_built_with_more_classes(name, norm):
    if norm is not None and name in NO_NORM:
        with pytest.raises(BadInput, match="not possible"):
            graph_of(name, 4, norm=norm)
        return
    assert widen_graph(graph_of(name, 4, norm=norm), 9) == graph_of(name, 9, norm=norm)
    assert widen_graph(graph_of(name, 4), 4) == graph_of(name, 4)
    assert head_parameters(graph_of(name)) == ("logits.weight", "logits.bias")


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet20", "gru", "kwt_tiny"])
def test_a_cosine_head_grows_by_rows_and_can_be_trained_alone(name):
    graph = graph_of(name, 4, head="cosine")
    assert widen_graph(graph, 9) == graph_of(name, 9, head="cosine")
    assert head_parameters(graph) == ("logits_weight.value",)
    assert trained_parameters(graph, "head") == ("logits_weight.value", "logits_scale.value")


def test_a_learner_of_a_cosine_head_takes_more_classes_than_it_began_with():
    x = np.random.default_rng(0).integers(0, 256, (12, 1, 12, 12), np.uint8)
    with Learner(graph_of("cnn", 2, head="cosine"), memory=8) as learner:
        learner.observe(x, list("abcdef") * 2)
        learner.learn(epochs=1)
        assert learner.core.classes >= 6 and set(learner.predict(x)) <= set("abcdef")


def test_the_head_of_a_network_of_ones_own_may_be_a_convolution_with_more_behind_it():
    graph = own_graph()
    wider = widen_graph(graph, 7)
    assert head_of(graph).name == "classes" and wider.classes == 7 and wider.shapes["scale"] == (7, 6, 6)
    check_graph(wider)
    assert {n for n in graph.parameters if wider.parameters[n] != graph.parameters[n]} == {
        "classes.weight", "classes.bias", "scale.scale", "scale.shift", "scale.running_mean", "scale.running_var",
    }  # fmt: skip
    Model(graph, np.random.default_rng(0)).adopt(wider, np.random.default_rng(1))  # as a learner would


@pytest.mark.parametrize(
    ("head", "word"), [("none", "its input"), ("sum", "'sum' (add)"), ("flat", "'flat' (flatten)")]
)
def test_a_head_that_cannot_grow_is_refused_by_name(head, word):
    with pytest.raises(BadInput) as refused:
        widen_graph(own_graph(head), 999)
    assert word in refused.value.cause and refused.value.remedy


def test_a_head_in_groups_grows_by_whole_groups_and_none_shrinks():
    assert widen_graph(own_graph("groups"), 6).classes == 6
    for classes in (5, 3):
        with pytest.raises(BadInput):
            widen_graph(own_graph("groups"), classes)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["mlp", "cnn"]), st.integers(4, 40), st.integers(0, 99))
def test_widening_keeps_every_weight_and_draws_only_new_rows(name, classes, seed):
    network = with_weights(graph_of(name))
    wider = network.widened(classes, np.random.default_rng(seed))
    for key, old in network.weights.items():
        np.testing.assert_array_equal(wider.weights[key][: len(old)], old)
        assert wider.weights[key].shape == wider.graph.parameters[key].shape
    again = network.widened(classes, np.random.default_rng(seed))
    assert wider.digest == again.digest and (wider.digest != network.digest) == (classes > 4)


# -- digest, state, file


def test_the_digest_is_of_graph_and_weights_and_of_nothing_else():
    network = with_weights(graph_of("cnn"))
    assert network.digest == with_weights(graph_of("cnn")).digest == replace(network, about={"labels": ["a"]}).digest
    moved = {**network.weights, "logits.bias": network.weights["logits.bias"] + np.float32(1e-6)}
    others = [with_weights(graph_of("mlp")), Network(network.graph), Network(network.graph, moved)]
    assert len({network.digest, *(o.digest for o in others)}) == 4
    assert network.label == f"cnn@{network.digest[:12]}"


@pytest.mark.parametrize("name", [*builders(), "own"])
def test_a_network_comes_back_from_a_file_and_a_state_as_it_was(name, tmp_path):
    graph = own_graph() if name == "own" else graph_of(name)
    network = replace(with_weights(graph), about={"labels": ["cat", "dog"], "source": {"kind": "test"}})
    path = network.save(tmp_path / "model.edgecl")
    state = json.loads(json.dumps(network.to_state(weights=False)))
    for back in (Network.load(path), Network.from_state(network.to_state())):
        assert back.digest == network.digest and back.graph == network.graph and back.about == network.about
    assert Network.from_state(state).graph == network.graph and not Network.from_state(state).weights


def saved_with(path, change):
    """A file whose content ``change(model, tensors)`` altered, with a checksum that fits."""
    network = with_weights(own_graph())
    tensors = dict(network.weights)
    network.save(path)
    model = {"format": 1, "graph": network.graph.to_json(), "input": {}}
    change(model, tensors)
    text = json.dumps(model)
    save_file(tensors, path, {"edgecl.model": text, "sha256": checksum(text, tensors)})
    return path


def edit(path: str, value):
    """A change of one place of the graph, such as ``nodes/1/attributes/out``."""

    def change(model, tensors):
        at = model["graph"]
        *way, last = (int(p) if p.isdigit() else p for p in path.split("/"))
        for part in way:
            at = at[part]
        at[last] = value

    return change


BAD = {
    "newer": lambda m, t: m.update(format=2),
    "no graph": lambda m, t: m.pop("graph"),
    "a graph that is a list": lambda m, t: m.update(graph=[1]),
    "a missing tensor's shape": edit("parameters/0/shape", [9, 2, 3, 3]),
    "a size that is no number": edit("parameters/0/shape", ["8", 2, 3, 3]),
    "a negative size": edit("shapes/body", [-8, 6, 6]),
    "a huge layer": edit("nodes/1/attributes/out", 2**40),
    "a size that is not whole": edit("parameters/0/fan_in", 18.5),
    "a fractional size": edit("nodes/1/attributes/out", 8.0),
    "a truth for a size": edit("nodes/1/attributes/out", True),
    "a kernel of three": edit("nodes/1/attributes/kernel", [3, 3, 3]),
    "a stride of zero": edit("nodes/1/attributes/stride", [0, 1]),
    "an unknown operator": edit("nodes/1/op", "eval"),
    "an operator that only costs": edit("nodes/1/op", "conv_transpose"),
    "an unknown attribute": edit("nodes/1/attributes/dilation", [2, 2]),
    "an attribute less": lambda m, t: m["graph"]["nodes"][4]["attributes"].pop("eps"),
    "an output of another name": edit("nodes/2/output", "other"),
    "parameters of another name": edit("nodes/1/parameters", ["weights"]),
    "an input from nowhere": edit("nodes/1/inputs", ["later"]),
    "an input from later": edit("nodes/1/inputs", ["act"]),
    "two of one name": edit("nodes/2/output", "body"),
    "no normalisation": edit("nodes/1/inputs", ["input"]),
    "a deviation of zero": edit("nodes/0/attributes/std", [0.0, 1.0]),
    "an infinite mean": edit("nodes/0/attributes/mean", [float("inf"), 1.0]),
    "logits that are the input": edit("logits", "input"),
    "logits that are nothing": edit("logits", 7),
    "a parameter more": lambda m, t: m["graph"]["parameters"].append({**m["graph"]["parameters"][0], "name": "x"}),
    "a role of its own": edit("parameters/0/role", "statistic"),
    "a prunable shift": edit("parameters/4/prunable", True),
    "features that are nothing": edit("notes", {"features": "nothing"}),
    "a tensor of nothing": lambda m, t: t.update(more=np.zeros(3, np.float32)),
    "a tensor of another shape": lambda m, t: t.update({"body.weight": np.zeros((8, 2, 3), np.float32)}),
    "a tensor of another dtype": lambda m, t: t.update({"body.weight": np.zeros((8, 2, 3, 3), np.float64)}),
    "a weight that is not finite": lambda m, t: t.update({"body.weight": np.full((8, 2, 3, 3), np.nan, np.float32)}),
    "a variance below zero": lambda m, t: t.update({"scale.running_var": -np.ones(4, np.float32)}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_not_sound_is_refused(what, tmp_path):
    path = saved_with(tmp_path / "m.edgecl", BAD[what])
    with pytest.raises(BadInput) as refused:
        Network.load(path)
    assert str(path) in refused.value.cause and refused.value.remedy


def test_the_unaltered_file_is_accepted_and_a_newer_one_refused_by_number(tmp_path):
    assert Network.load(saved_with(tmp_path / "m.edgecl", lambda m, t: None)).graph == own_graph()
    with pytest.raises(BadInput, match="format 2"):
        Network.load(saved_with(tmp_path / "m.edgecl", BAD["newer"]))


@pytest.mark.parametrize("at", [0, 4, 9, 200, 2000, -1])
def test_a_damaged_file_is_refused(at, tmp_path):
    path = with_weights(own_graph()).save(tmp_path / "m.edgecl")
    data = bytearray(path.read_bytes())
    data[at] ^= 0x41
    path.write_bytes(data)
    with pytest.raises(BadInput):
        Network.load(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput):
        Network.load(path)
    with pytest.raises(BadInput, match="no network"):
        Network.load(tmp_path / "other.edgecl")


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_value_anywhere_in_a_graph_is_refused_or_changes_nothing_that_computes(data):
    whole = own_graph().to_json()
    changed, at, way = copy.deepcopy(whole), None, None
    at = changed
    while isinstance(at, (dict, list)) and at:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        way = at, data.draw(st.sampled_from(keys))
        at = way[0][way[1]]
        if data.draw(st.booleans()):
            break
    way[0][way[1]] = data.draw(_plain)
    try:
        graph = graph_from_json(changed)
    except BadInput:
        return
    check_graph(graph)
    Model(graph, np.random.default_rng(0))


# -- what a learner is given


SPEC = SimpleNamespace(shape=(2, 6, 6), dtype="float32", mean=None, std=None)


def test_a_name_a_file_a_graph_and_a_network_all_resolve(tmp_path):
    network = with_weights(own_graph())
    for value in (network, network.graph, network.save(tmp_path / "m.edgecl"), str(tmp_path / "m.edgecl")):
        assert resolve_network(value, SPEC, 4).graph == network.graph
    assert resolve_network("mlp", SPEC, 3, norm="batch").graph == build(
        "mlp", (2, 6, 6), 3, input_dtype="float32", norm="batch"
    )


def test_a_narrow_head_grows_and_keeps_its_rows_where_a_generator_is_given():
    network = with_weights(own_graph())
    fresh = resolve_network(network, SPEC, 6)
    assert fresh.graph.classes == 6 and set(network.weights) - set(fresh.weights) == set(head_parameters(network.graph))
    wider = resolve_network(network, SPEC, 6, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(wider.weights["classes.bias"][:4], network.weights["classes.bias"])
    assert resolve_network(network, SPEC, 2).graph.classes == 4


@pytest.mark.parametrize(
    ("value", "changes", "word"),
    [
        ("resnet21", {}, "resnet20"),
        ("own@0123456789ab", {}, "network="),
        (3, {}, "int"),
        (own_graph(), {"norm": "batch"}, "norm"),
        (own_graph(), {"spec": SimpleNamespace(**{**SPEC.__dict__, "shape": (3, 6, 6)})}, "(2, 6, 6)"),
        (own_graph(), {"spec": SimpleNamespace(**{**SPEC.__dict__, "dtype": "uint8"})}, "float32"),
        (own_graph("flat"), {}, "flatten"),
    ],
)
def test_what_does_not_fit_is_refused(value, changes, word):
    with pytest.raises(BadInput) as refused:
        resolve_network(value, changes.pop("spec", SPEC), 4, **changes)
    assert word in str(refused.value)


@pytest.mark.parametrize(
    "weights",
    [{"nothing": np.zeros(3)}, {"body.weight": np.zeros((8, 2, 3))}, {"classes.bias": np.zeros(4, int)},
     {"classes.bias": np.full(4, np.inf)}, {"classes.bias": np.full(4, 1e300)}],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(BadInput):
        Network(own_graph(), weights)
