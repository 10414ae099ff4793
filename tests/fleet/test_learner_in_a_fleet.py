"""Real learners in a fleet: one device gives the bits of local training; two learn of each other's labels."""

from __future__ import annotations

import numpy as np
import pytest

from edgecl import Learner
from edgecl.fleet.member import Member
from edgecl.fleet.rounds import Rounds, Rules
from edgecl.fleet.weights import read, schema_of, sums_of, with_sums

OPTIONS = {"input_shape": (1, 12, 12), "batch": 8, "memory": 40, "method": "er", "seed": 3, "classes": 4}
CNN = {**OPTIONS, "sparsity": 0.8, "sparsity_policy": "static", "momentum": 0.9}


def samples(kinds, count=64, seed=0, noise=60):
    rng = np.random.default_rng(seed)
    y = rng.choice(kinds, count)
    x = rng.integers(0, noise, (count, 1, 12, 12))
    for i, k in enumerate(y):
        x[i, 0, 3 * k : 3 * k + 3] += 180 if noise == 60 else 255 - noise
    return x.astype(np.uint8), [f"kind {k}" for k in y]


def fleet_of(learner, **rules):
    schema = schema_of(learner.model.graph, learner.model.state())
    model = read(schema, learner.model.state(), learner.units)
    return Rounds(model, Rules(**rules)), schema


def one_round(rounds, members, learners, steps):
    for member, learner in zip(members, learners):
        known = member.known(learner.units, rounds.model.living)
        member.receive(rounds.message(known))
        learner.model.load(member.adopted(learner.model.state(), learner.units))
        learner.learn(steps=steps)
        rounds.take(member.update(learner.model.state(), learner.units, 64, steps))
    return rounds.close()


@pytest.mark.parametrize("options", [OPTIONS, {"network": "cnn", **CNN}])
def test_one_device_in_f32_gives_the_bits_of_local_training(options):
    x, y = samples(range(4))
    with Learner(**options) as local, Learner(**options) as learner:
        rounds, schema = fleet_of(learner, form="f32", every=0)
        member = Member(schema, "a", "f32")
        for part in range(3):
            for one in (local, learner):
                one.observe(x[16 * part : 16 * part + 32], y[16 * part : 16 * part + 32])
            local.learn(steps=10)
            one_round(rounds, [member], [learner], 10)
        mine, theirs = local.model.state()["engine"], learner.model.state()["engine"]
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert np.array_equal(mine[key], theirs[key]), key
        own = read(schema, local.model.state(), local.units)
        assert set(own.labels) == set(rounds.model.labels) and len(own.labels) == 4
        for t in schema.tensors:
            a, b = own.values[t.name], rounds.model.values[t.name]
            if t.kind == "head":  # rows stand in another order
                order = [own.labels.index(label) for label in rounds.model.labels]
                a = a.reshape(4, -1)[order].reshape(-1)
            assert np.array_equal(a, b), t.name


def test_labels_are_merged_by_name_not_by_unit():
    with Learner("cnn", **CNN) as one, Learner("cnn", **CNN) as other:
        one.observe(*samples([0, 1]))
        other.observe(*samples([2, 1], seed=1))
        rounds, schema = fleet_of(one, form="f32", every=0)
        members = [Member(schema, name, "f32") for name in "ab"]
        one_round(rounds, members, [one, other], 30)
        assert set(rounds.model.labels) == {"kind 0", "kind 1", "kind 2"}
        rows = {k: m.adopted(ln.model.state(), ln.units) for k, m, ln in zip("ab", members, (one, other))}
        states = {"a": read(schema, one.model.state(), one.units), "b": read(schema, other.model.state(), other.units)}

        def row(model, label):
            return model.values["logits.weight"].reshape(len(model.labels), -1)[model.labels.index(label)]

        for name, label in (("a", "kind 0"), ("b", "kind 2")):  # of whom alone knows it
            assert np.array_equal(row(rounds.model, label), row(states[name], label))
        both = (row(states["a"], "kind 1").astype(float) + row(states["b"], "kind 1")) / 2
        assert np.array_equal(row(rounds.model, "kind 1"), both.astype(np.float32))
        assert rows.keys() == {"a", "b"}


def test_a_device_learns_from_another_one_what_it_has_few_samples_of():
    with Learner("cnn", **CNN) as rich, Learner("cnn", **CNN) as poor, Learner("cnn", **CNN) as alone:
        few, (test, truth) = samples(range(4), 8, 5, 220), samples(range(4), 200, 9, 220)
        rich.observe(*samples(range(4), 400, 4, 220))
        for one in (poor, alone):
            one.observe(*few)
        rounds, schema = fleet_of(rich, form="f16", every=0)
        members = [Member(schema, name) for name in ("rich", "poor")]
        for _ in range(6):
            one_round(rounds, members, [rich, poor], 20)
            alone.learn(steps=20)
        right = [np.mean([a == b for a, b in zip(one.predict(test), truth)]) for one in (poor, alone)]
        assert right[0] > right[1] + 0.05, right


def test_when_the_pattern_moves_survivors_keep_their_momentum(tmp_path):
    with Learner("cnn", **CNN) as learner:
        learner.observe(*samples(range(4)))
        rounds, schema = fleet_of(learner, form="f16", every=1, share=0.3)
        member = Member(schema, "a")
        assert one_round(rounds, [member], [learner], 20)["pattern_moved"]
        before = learner.model.state()["engine"]
        member.save(tmp_path / "member.safetensors")
        member = Member.open(tmp_path / "member.safetensors")
        member.receive(rounds.message(member.known(learner.units, {})))
        learner.model.load(member.adopted(learner.model.state(), learner.units))
        after = learner.model.state()["engine"]
        name = "conv3.weight"
        stay, was, now = np.intersect1d(before[f"{name}/pattern"], after[f"{name}/pattern"], return_indices=True)
        assert 0 < stay.size < after[f"{name}/pattern"].size == before[f"{name}/pattern"].size
        key = f"{name}/moment/momentum"
        assert np.array_equal(before[key][was], after[key][now])
        assert not np.delete(after[key], now).any()
        log = learner.learn(steps=5)
        assert np.isfinite(log.loss)


@pytest.mark.parametrize("method", ["ncm", "slda"])
def test_closed_form_heads_of_many_devices_equal_one_that_saw_all(method):
    options = {**OPTIONS, "network": "mlp", "method": method, "body": "frozen"}
    x, y = samples(range(4), 120)
    with Learner(**options) as one, Learner(**options) as two, Learner(**options) as whole:
        parts = [(one, slice(0, 50)), (two, slice(50, 120)), (whole, slice(0, 120))]
        for learner, part in parts:
            learner.observe(x[part], y[part])
            learner.learn(epochs=1)
        schema = schema_of(one.model.graph, one.model.state(), body=False)
        rounds = Rounds(read(schema, one.model.state(), ()), Rules(form="f32"))
        members = [Member(schema, name, "f32") for name in "ab"]
        for member, learner in zip(members, (one, two)):
            member.receive(rounds.message(member.known(learner.units, {})))
            rounds.take(member.update(learner.model.state(), learner.units, 60, 8))
        rounds.close()
        total, wanted = rounds.model, sums_of(whole.model.state()["method"], range(4), schema)
        order = [whole.units.index(label) for label in total.labels]
        assert np.array_equal(total.sums.counts, wanted.counts[order])
        assert np.allclose(total.sums.sums, wanted.sums[order], rtol=1e-13)
        assert np.allclose(total.sums.second, wanted.second, rtol=1e-12)
        for member, learner in zip(members, (one, two)):
            member.receive(rounds.message(member.known(learner.units, {})))
            state = learner.model.state()
            learner.model.load({**state, "method": with_sums(state["method"], member.base, learner.units)})
        test, _ = samples(range(4), 100, seed=8)
        assert one.predict(test) == two.predict(test) == whole.predict(test)
