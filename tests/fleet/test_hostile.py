"""Hostile updates are refused by name before a number is used: nothing of the model changes, nothing crashes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up import answer, random_model, server

from edgecl.fleet.codec import MAGIC, About, encode, sealed
from edgecl.fleet.model import FleetModel, Schema, Tensor
from edgecl.fleet.refusals import BadUpdate
from edgecl.fleet.rounds import Rounds, Rules

MUTATED = 20_000


def refused(rounds, data):
    before = rounds.model.digest
    with pytest.raises(BadUpdate) as error:
        rounds.take(data)
    assert rounds._mean.replies == 0 and rounds.model.digest == before
    assert error.value.cause and error.value.remedy
    return error.value.name


def resealed(data, change):
    """The header changed, and the checksum right again."""
    size = int.from_bytes(data[16:20], "little")
    header = json.loads(data[20 : 20 + size])
    change(header)
    text = json.dumps(header).encode()
    return sealed(MAGIC + len(text).to_bytes(4, "little") + text + data[20 + size : -32])


@pytest.mark.parametrize("form", ["f32", "f16", "int8"])
@pytest.mark.parametrize("where", ["stem", "deep", "head.bias"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(form, where, number):
    def spoil(model, wire):
        if form == "int8" and where != "head.bias":
            wire[where] = wire[where]._replace(scale=np.float32(number))
        elif form == "f16" and where != "head.bias":
            wire[where].steps[1] = number
        else:
            model.values[where][1] = number

    rounds = server(form=form)
    assert refused(rounds, answer(rounds, spoil=spoil)) == "number"


def test_what_leaves_float32_is_refused():
    rounds = server(form="int8")

    def spoil(model, wire):
        wire["stem"] = wire["stem"]._replace(scale=np.float32(3e38))

    assert refused(rounds, answer(rounds, spoil=spoil)) == "number"


def test_wrong_sizes_are_refused():
    rounds = server()
    data = answer(rounds)
    assert refused(rounds, data[:-1]) == "checksum"
    assert refused(rounds, sealed(data[:-33])) == "size"
    assert refused(rounds, sealed(data[:-32] + b"\x00")) == "size"
    assert refused(rounds, b"") == refused(rounds, MAGIC) == "format"
    assert refused(rounds, MAGIC + b"\xff\xff\xff\xff" + bytes(64)) == "size"
    longer = resealed(data[:-32] + bytes(4) + data[-32:], lambda h: h.update(values=h["values"] + 4))
    assert refused(rounds, longer) == "size"


def test_foreign_digests_are_refused_each_by_its_name():
    rounds = server()
    data, other = answer(rounds), "0" * 64
    for field, name in (("network", "network"), ("base", "base"), ("pattern", "pattern"), ("labels_digest", "labels")):
        assert refused(rounds, resealed(data, lambda h, f=field: h.update({f: other}))) == name
    foreign = Schema((*rounds.model.schema.tensors, Tensor("more", (2,), "dense")))
    model = random_model(np.random.default_rng(0), foreign, labels=())
    base = json.loads(data[20 : 20 + int.from_bytes(data[16:20], "little")])["base"]
    assert refused(rounds, encode(model, About("update", "a", 1, 1, 1), base=base)) == "network"


def test_a_thousandfold_norm_is_refused_at_once_and_later():
    rounds = server()

    def thousandfold(model):
        for name, values in model.values.items():
            old = rounds.model.values[name]
            model.values[name] = (old + 1000 * (values - old)).astype(np.float32)

    # 0.01 a weight against weights of up to hundreds: make the model an ordinary one first
    rounds.model.values = {n: np.clip(v, -0.1, 0.1) for n, v in rounds.model.values.items()}
    assert refused(rounds, answer(rounds, "x", change=thousandfold)) == "norm"
    for k in range(6):
        rounds.take(answer(rounds, f"d{k}"))
    with pytest.raises(BadUpdate) as error:
        rounds.take(answer(rounds, "y", change=thousandfold))
    assert error.value.name == "norm" and rounds.refused["norm"] == 2


def test_a_pattern_that_is_not_the_fleets_is_refused_in_common_mode():
    rounds = server()

    def other(model):
        pattern = model.patterns["deep"].copy()
        pattern[-1] = 76 if pattern[-1] != 76 else 75
        model.patterns = {**model.patterns, "deep": np.unique(pattern)}
        model.values["deep"] = model.values["deep"][: model.patterns["deep"].size]

    data = answer(rounds, change=other)
    assert refused(rounds, data) == "pattern"  # left out, and not the one that is known here
    size = int.from_bytes(data[16:20], "little")
    bomb = __import__("zlib").compress(bytes(100_000_000), 9)
    at = 20 + size
    told = resealed(data[:at] + bomb + data[at:], lambda h: h.update(patterns=len(bomb)))
    assert refused(rounds, told) == "pattern"


def test_strangers_and_devices_without_samples_are_refused():
    rounds = server()
    assert refused(rounds, answer(rounds, samples=0)) == "format"
    closed = Rounds(rounds.model, Rules(form="f32"), names=["a"])
    closed._sent = dict(rounds._sent)
    answer(closed, "a")
    assert refused(closed, resealed(answer(closed, "a"), lambda h: h.update(device="b"))) == "stranger"


def test_labels_that_are_none_are_refused():
    rounds = server()
    data = answer(rounds)
    for labels in ([0, 0], [True], [None], ["x" * 129], ["a\nb"], [1.5], [2**60], {"a": 1}, list(range(5000))):
        assert refused(rounds, resealed(data, lambda h, v=labels: h.update(labels=v))) == "labels"


def mutate(data, rng):
    """Bytes changed, cut, doubled or swapped; in most cases the checksum is made right again."""
    found = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        for at in rng.integers(0, len(found), rng.integers(1, 9)):
            found[at] = rng.integers(256)
    elif kind == 1:
        del found[rng.integers(len(found)) :]
    elif kind == 2:
        at = rng.integers(len(found))
        found[at:at] = rng.bytes(rng.integers(1, 64))
    elif kind == 3:
        size = int.from_bytes(data[16:20], "little")
        header = json.loads(data[20 : 20 + size])
        key = rng.choice(sorted(header))
        values = [None, -1, 0, 1 << 70, "", "x", [], {}, True, 1.5, "f16", "int8", "none", ["a"], header["base"]]
        header[key] = values[rng.integers(len(values))]
        text = json.dumps(header).encode()
        found = bytearray(MAGIC + len(text).to_bytes(4, "little") + text + data[20 + size :])
    else:
        begin, end = sorted(rng.integers(20, len(found), 2))
        found[begin:end] = found[begin:end][::-1]
    return sealed(bytes(found[:-32])) if rng.random() < 0.8 else bytes(found)


def campaign(count, seed):
    """(refused by name, taken) of mutated updates; anything but a `BadUpdate` is a crash and comes up."""
    rng, names, taken = np.random.default_rng(seed), {}, 0
    for form in ("f32", "f16", "int8"):
        for mode in ("common", "union"):
            rounds = server(form=form, mode=mode)
            budget = dict(rounds.model.living)
            data = answer(rounds, budget=budget)
            for _ in range(count // 6):
                try:
                    rounds.take(mutate(data, rng))
                except BadUpdate as error:
                    names[error.name] = names.get(error.name, 0) + 1
                else:
                    taken += 1
                    rounds.close()
                    assert all(np.isfinite(v).all() for v in rounds.model.values.values())
                    data = answer(rounds, budget=budget)
    return names, taken


def test_mutated_updates_are_refused_by_name():
    names, _ = campaign(1200, 1)
    assert {"format", "size", "checksum", "number"} <= names.keys()


@pytest.mark.campaign
def test_twenty_thousand_mutated_updates():
    names, taken = campaign(MUTATED, 2)
    assert sum(names.values()) + taken >= MUTATED - 6
    print(names, taken)


def test_a_model_with_other_tensors_is_no_schema():
    from edgecl.errors import BadInput

    tensors = ([["a", [-1], "dense"]], [["a", [2], "odd"]], [["a", [2]]], 3)
    for bad in (None, {}, *({"tensors": t, "sums": None} for t in tensors)):
        with pytest.raises(BadInput):
            Schema.from_json(bad)
    assert FleetModel(Schema(()), ()).digest
