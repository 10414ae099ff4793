"""Made-up fleets: small models with random patterns and labels, and their dense reference."""

from __future__ import annotations

import numpy as np

from edgecl.fleet.codec import About, encode
from edgecl.fleet.model import FleetModel, Schema, Tensor
from edgecl.fleet.quantise import Feedback
from edgecl.fleet.rounds import Known, Rounds, Rules

SCHEMA = Schema((
    Tensor("stem", (3, 5), "dense"), Tensor("conv", (7, 3, 3, 3), "sparse"), Tensor("deep", (11, 7), "sparse"),
    Tensor("head.weight", (6,), "head"), Tensor("head.bias", (), "head"),
))  # fmt: skip
LABELS = (0, 1, "0", "cat", "dog", "café", -7)


def random_model(rng, schema=SCHEMA, labels=None, density=None, patterns=None):
    """Values of many magnitudes on random patterns, some of them empty or full."""
    if labels is None:
        labels = tuple(LABELS[i] for i in rng.permutation(len(LABELS))[: rng.integers(0, len(LABELS) + 1)])
    values, found = {}, {}
    for t in schema.tensors:
        size = t.size * len(labels) if t.kind == "head" else t.size
        if t.kind == "sparse":
            share = rng.choice([0.0, 0.1, 0.5, 1.0]) if density is None else density
            found[t.name] = np.flatnonzero(rng.random(t.size) < share).astype(np.int32)
            if patterns is not None:
                found[t.name] = patterns[t.name]
            size = found[t.name].size
        values[t.name] = (rng.normal(size=size) * 10.0 ** rng.integers(-6, 3, size)).astype(np.float32)
    return FleetModel(schema, labels, values, found)


def dense(model, name):
    """A tensor in full, and where it lives."""
    t = next(t for t in model.schema.tensors if t.name == name)
    full, lives = np.zeros(t.size), np.zeros(t.size, bool)
    at = model.patterns[name] if t.kind == "sparse" else np.arange(t.size)
    full[at], lives[at] = model.values[name], True
    return full, lives


def rows(model, name):
    """Head rows by label."""
    width = next(t.size for t in model.schema.tensors if t.name == name)
    return dict(zip(model.labels, model.values[name].reshape(len(model.labels), width)))


def server(rng=None, **rules):
    """Open rounds over a random model with some living weights, and its first device's message."""
    rng = rng or np.random.default_rng(0)
    given = Rules(**{"form": "f32", **rules})
    return Rounds(random_model(rng, labels=(0, "cat"), density=0.3), given)


def answer(
    rounds, device="a", rng=None, form=None, change=None, spoil=None, labels=(0, "cat"), samples=10, budget=None
):
    """The model of a round for a device, moved a little, as an update."""
    from edgecl.fleet.codec import decode

    rng = rng or np.random.default_rng(1)
    form = form or rounds.rules.form
    message = rounds.message(Known(device, labels, budget=budget or {}))
    base = decode(message, rounds.model.schema).model
    values = {n: (v + 0.01 * rng.normal(size=v.size)).astype(np.float32) for n, v in base.values.items()}
    model = FleetModel(base.schema, base.labels, values, base.patterns)
    if change is not None:
        change(model)
    wire = None if form == "f32" else Feedback().take(model, base, form)
    if spoil is not None:
        spoil(model, wire)
    about = About("update", device, rounds.round, samples, 5)
    return encode(model, about, base=base, wire=wire, form=form, patterns=rounds.rules.mode == "union")
