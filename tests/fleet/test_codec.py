"""Update format 1: what is written is read again, bit for bit where it says so, and few bytes travel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import random_model

from edgecl.errors import BadInput
from edgecl.fleet.codec import About, decode, encode
from edgecl.fleet.model import FleetModel, Schema, Sums
from edgecl.fleet.quantise import Feedback, quantised

MODEL = About("model", "server", 3)


def same(a, b):
    return a.digest == b.digest and all(np.array_equal(a.values[n], b.values[n]) for n in a.values)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_whole_model_comes_back_bit_for_bit(seed):
    model = random_model(np.random.default_rng(seed))
    found = decode(encode(model, MODEL), model.schema)
    assert same(found.model, model)
    assert found.header.labels == model.labels and found.header.round == 3


@given(st.integers(0, 2**32), st.sampled_from(["f32", "f16", "int8"]))
@settings(max_examples=100, deadline=None)
def test_an_update_comes_back_as_base_and_rounded_difference(seed, form):
    rng = np.random.default_rng(seed)
    base, model = random_model(rng), random_model(rng)
    wire = None if form == "f32" else Feedback().take(model, base, form)
    data = encode(model, About("update", "a", 1, 5, 2), base=base, wire=wire, form=form)
    found = decode(data, model.schema, base).model
    for t in model.schema.tensors:
        if form == "f32" or t.kind == "head":
            assert np.array_equal(found.values[t.name].astype(np.float32), model.values[t.name])
        else:
            d = np.abs(found.values[t.name] - model.values[t.name])
            scale = np.abs(wire[t.name].differences()).max(initial=1e-3)
            assert (d <= scale / (200 if form == "int8" else 1000) + 6e-8).all()


def test_what_a_receiver_has_does_not_travel():
    rng = np.random.default_rng(0)
    base = random_model(rng, density=0.1)
    model = random_model(rng, labels=base.labels, patterns=base.patterns)
    wire = Feedback().take(model, base, "f16")
    about = About("update", "a", 1, 5, 2)
    known = encode(model, about, base=base, wire=wire, form="f16", patterns=False)
    told = encode(model, about, base=base, wire=wire, form="f16")
    assert len(known) < len(told)
    assert same(decode(known, model.schema, base).model.rounded(), decode(told, model.schema, base).model.rounded())
    nothing = encode(base, MODEL, base=base.digest, form="none", patterns=False)
    assert same(decode(nothing, base.schema, base).model, base)


def test_what_rounding_takes_is_given_back_later():
    """A difference far below one step of int8 arrives in full over many rounds; without feedback never."""
    rng = np.random.default_rng(0)
    base = random_model(rng, density=0.5)
    target = {n: v.copy() for n, v in base.values.items()}
    target["stem"] = target["stem"] + 1e-3 * rng.normal(size=target["stem"].size).astype(np.float32)
    target["stem"][0] = base.values["stem"][0] + 10.0  # makes one step 0.08
    step = FleetModel(base.schema, base.labels, target, base.patterns)
    feedback, arrived = Feedback(), 0.0
    for _ in range(400):
        arrived = arrived + feedback.take(step, base, "int8")["stem"].differences()
    wanted = 400 * (target["stem"].astype(np.float64) - base.values["stem"])
    assert np.abs(arrived - wanted).max() <= 0.08
    once = 400 * quantised(target["stem"].astype(np.float64) - base.values["stem"], "int8").differences()
    assert np.abs(once - wanted).max() > 0.3


def test_sums_of_features_travel_in_float64():
    rng = np.random.default_rng(0)
    schema = Schema((), (5, True))
    sums = Sums(np.array([3.0, 8.0]), rng.normal(size=(2, 5)), rng.normal(size=15))
    found = decode(encode(FleetModel(schema, ("a", 2), sums=sums), MODEL), schema).model
    for name in ("counts", "sums", "second"):
        assert np.array_equal(vars(found.sums)[name], vars(sums)[name])


def test_a_difference_that_float16_cannot_hold_is_not_sent():
    with pytest.raises(BadInput, match="Use f32"):
        quantised(np.array([1e6]), "f16")
    with pytest.raises(BadInput, match="NaN"):
        quantised(np.array([np.nan]), "int8")
