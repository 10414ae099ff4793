"""A model that got worse goes back by itself, and an honest one does not."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from daemons import LEARNER, samples
from edgecl.storage.bounded import parse_toml
from hypothesis import given
from hypothesis import strategies as st

from edgecl.service.bodies import Samples
from edgecl.service.boots import Boots
from edgecl.service.config import Holdout, make_config
from edgecl.service.held import Held, open_learner
from edgecl.service.holdout import Holdout as Rows
from edgecl.service.journal import Journal
from edgecl.service.judge import compare, mcnemar
from edgecl.service.service import Service

SHARE = 0.25


@pytest.fixture
def service(tmp_path):
    made = []

    def make(**learner) -> Service:
        config = make_config({
            "learner": parse_toml(LEARNER) | learner, "serve": {"state": str(tmp_path), "run": str(tmp_path)},
            "learn": {"when": "manual"}, "holdout": {"share": SHARE, "least": 20},
        })  # fmt: skip
        held = Held(open_learner(config), "task")
        made.append(Service(config, held, Journal(tmp_path), Boots(tmp_path)))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        if not one.held.learner.life.closed:
            one.close(lambda: False, 10)


def take(service: Service, x: np.ndarray, y: list, subject: int | None = None) -> list[int]:
    found = service.observe(lambda: Samples(x, y, subject), x.nbytes, True, None).result(60)
    return found["ids"]


def learn(service: Service, steps: int) -> None:
    service.learn(steps=steps).future.result(60)


def test_shuffled_labels_take_it_back_within_two_slices(service):
    s = service(lr=0.05)
    take(s, *samples(200))
    for _ in range(3):
        learn(s, 60)
    before = s.watching.accuracy
    assert before > 0.9
    kinds = [d["kind"] for d in s.journal.since(0)]
    assert "rollback" not in kinds
    s.work.submit("end-task", s.held.end_task).future.result(60)
    x, y = samples(600, seed=1)
    rng = np.random.default_rng(0)
    take(s, x, [y[i] for i in rng.permutation(len(y))])
    clean = samples(80, seed=5)
    told = s.predict(lambda: Samples(clean[0]), 80).result(60).shares
    slices = 0
    while not s.watching.rollbacks and slices < 2:
        learn(s, 120)
        slices += 1
    assert s.watching.rollbacks == 1
    entry = next(d for d in s.journal.since(0) if d["kind"] == "rollback")
    assert entry["why"] == "held-out accuracy fell"
    assert entry["before"] - entry["after"] >= 0.03
    assert entry["p"] < 0.01
    assert s.schedule.waits > 0
    assert np.array_equal(s.predict(lambda: Samples(clean[0]), 80).result(60).shares, told)
    assert s.held.learner.counters["stored"] == 800  # the samples stay


def test_going_back_by_hand_takes_the_model_before(service):
    s = service()
    take(s, *samples(160))
    with pytest.raises(Exception, match="no model before"):
        s.work.submit("rollback", s.watching.rollback).future.result(60)
    answers = []
    probe = samples(16, seed=3)[0]
    for _ in range(3):
        learn(s, 40)
        answers.append(s.predict(lambda: Samples(probe), 16).result(60).shares)
        s.work.submit("checkpoint", s.checkpoint).future.result(60)
    slot = s.held.slot
    s.work.submit("rollback", s.watching.rollback).future.result(60)
    assert np.array_equal(s.predict(lambda: Samples(probe), 16).result(60).shares, answers[1])
    assert s.held.slot != slot


def test_what_is_held_out_is_never_trained_on_and_comes_back_after_a_restart(service):
    s = service()
    x, y = samples(80)
    ids = take(s, x, y, subject=1)
    held = dict(s.watching.holdout.fresh)
    assert len(held) == SHARE * 80
    assert s.held.learner.counters["buffered"] == 80 - len(held)
    assert {row.label for row in held.values()} == set(y)
    for i, row in held.items():
        assert np.array_equal(row.x, x[ids.index(i)])
    s.checkpoint()
    s.close(lambda: True, 10)
    again = service()
    assert again.watching.holdout.fresh.keys() == held.keys()
    assert all(np.array_equal(again.watching.holdout.fresh[i].x, row.x) for i, row in held.items())
    again.forget(1).future.result(60)
    assert len(again.watching.holdout) == 0


def test_a_model_learns_a_new_label_without_going_back(service):
    s = service(classes=2)
    x, y = samples(160)
    first = [i for i, label in enumerate(y) if label in ("kind 0", "kind 1")]
    take(s, x[first], [y[i] for i in first])
    for _ in range(2):
        learn(s, 60)
    rest = [i for i in range(160) if i not in first]
    take(s, x[rest], [y[i] for i in rest])
    for _ in range(3):
        learn(s, 60)
    assert s.watching.rollbacks == 0
    assert s.watching.accuracy > 0.8


def test_a_kept_model_of_a_narrower_head_can_be_gone_back_to(service):
    s = service(classes=2)
    x, y = samples(80)
    two = [i for i, label in enumerate(y) if label in ("kind 0", "kind 1")]
    take(s, x[two], [y[i] for i in two])
    learn(s, 40)
    model = s.held.learner.model
    state, wanted = model.state(), s.held.learner.predict(x[two], proba=True)
    take(s, x, y)
    learn(s, 40)
    model.load(state)
    shares = s.held.learner.predict(x[two], proba=True)
    assert shares.shape == (len(two), 4)
    np.testing.assert_allclose(shares[:, :2] / shares[:, :2].sum(1, keepdims=True), wanted, atol=1e-5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_tail_of_a_fair_coin(lost, won):
    n = lost + won
    assert mcnemar(lost, won) == pytest.approx(1 - sum(comb(n, k) for k in range(lost)) / 2**n)
    assert mcnemar(lost, won) >= mcnemar(lost + 1, max(0, won - 1)) or won == 0


def test_few_samples_judge_nothing_and_small_losses_are_no_losses():
    options = Holdout(least=40)
    right = {i: True for i in range(100)}
    assert compare({0: True}, {0: False}, options) is None
    two = {**right, 0: False, 1: False}
    assert not compare(right, two, options).worse
    ten = right | {i: False for i in range(10)}
    assert compare(right, ten, options).worse
    even = ten | {i: True for i in range(10)}
    assert not compare(ten, even, options).worse


def test_the_holdout_is_as_balanced_as_what_came(tmp_path):
    rows = Rows(tmp_path, Holdout(share=0.5, most=12))
    labels = ["many"] * 100 + ["few"] * 8
    chosen = rows.choose(labels)
    held = [i for i in range(108) if chosen[i]]
    rows.add(held, [labels[i] for i in held], None, np.zeros((len(held), 1, 1, 1)))
    assert rows.rows == {}
    rows.passed()
    kept = [row.label for row in rows.rows.values()]
    assert (len(kept), kept.count("few")) == (12, 4)
    back = rows.given_back()
    assert len(back) == len(held) - 12
    assert rows.given_back() == []
    rows.save()
    again = Rows(tmp_path, Holdout(share=0.5, most=12))
    again.load(lambda ids: {i: np.zeros((1, 1, 1)) for i in ids})
    assert again.rows.keys() == rows.rows.keys()


@pytest.mark.campaign
def test_fifty_honest_runs_of_twenty_slices_never_go_back(tmp_path):
    for seed in range(50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        config = make_config({
            "learner": parse_toml(LEARNER) | {"seed": seed, "lr": 0.03},
            "serve": {"state": str(folder), "run": str(folder)}, "learn": {"when": "manual"},
        })  # fmt: skip
        s = Service(config, Held(open_learner(config), "task"), Journal(folder), Boots(folder))
        s.start()
        for k in range(22):
            take(s, *samples(64, seed=1000 * seed + k))
            learn(s, 25)
        assert s.watching.rollbacks == 0, seed
        assert len(s.watching.holdout) >= 40
        s.close(lambda: False, 10)
