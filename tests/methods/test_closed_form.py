"""Closed-form heads: no order, no forgetting, no sample counted twice; subjects leave without a trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import learned, options

from edgecl import Learner
from edgecl.methods import make_method
from edgecl.methods.sums import Sums
from edgecl.methods.visited import Visited

HEADS = ("ncm", "slda", "ridge")


def features(seed: int = 0, n: int = 200, d: int = 9, classes: int = 4):
    """Features [n, d] around a centre per class, labels [n]."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    f = rng.normal(size=(classes, d))[y] * 2 + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 0.5
    return np.maximum(f, 0).astype(np.float32), y


def scores(method, f, classes=4):
    return method.scores({"logits": np.zeros((len(f), classes), np.float32), "features": f})


@pytest.mark.parametrize("name", HEADS)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 199), max_size=4, unique=True))
def test_the_head_is_the_same_for_any_order_and_any_cut_into_batches(name, seed, cuts):
    f, y = features()
    whole, other = make_method(name), make_method(name)
    whole.add(f, y)
    order = np.random.default_rng(seed).permutation(len(y))
    for rows in np.split(order, sorted(cuts)):
        other.add(f[rows], y[rows])
    assert np.allclose(scores(whole, f), scores(other, f), rtol=1e-5, atol=1e-5)
    assert np.array_equal(whole.counted.counts, other.counted.counts)


@pytest.mark.parametrize("name", HEADS)
def test_what_is_taken_out_was_never_there_and_what_is_merged_was_always_there(name):
    f, y = features()
    mine = np.arange(len(y)) % 7 == 0
    without, forgot = make_method(name), make_method(name)
    without.add(f[~mine], y[~mine])
    forgot.add(f, y)
    forgot.add(f[mine], y[mine], -1.0)
    for a, b in zip(without.solve(without.counted), forgot.solve(forgot.counted)):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(a).max()
    subject = make_method(name)
    subject.add(f[mine], y[mine])
    without.merge(subject)
    whole = make_method(name)
    whole.add(f, y)
    for a, b in zip(without.solve(without.counted), whole.solve(whole.counted)):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(a).max()


def test_streaming_lda_is_the_batch_lda():
    f, y = features()
    method = make_method("slda", shrinkage=0.01)
    for rows in np.array_split(np.arange(len(y)), 20):
        method.add(f[rows], y[rows])
    x = f.astype(np.float64)
    means = np.stack([x[y == c].mean(axis=0) for c in range(4)])
    centred = x - means[y]
    within = centred.T @ centred / len(y)
    shrunk = 0.99 * within + 0.01 * np.trace(within) / 9 * np.eye(9)
    weights = np.linalg.inv(shrunk) @ means.T
    expected = x @ weights - 0.5 * (means.T * weights).sum(axis=0)
    assert np.allclose(scores(method, f), expected, rtol=1e-6, atol=1e-4)
    solved = method.solve(method.counted)[0]
    assert np.abs(solved - weights).max() <= 1e-6 * np.abs(weights).max()


def test_ridge_is_the_joint_solution():
    f, y = features()
    method = make_method("ridge", l=0.5)
    method.add(f, y)
    x, targets = f.astype(np.float64), np.eye(4)[y]
    expected = np.linalg.inv(x.T @ x + 0.5 * np.eye(9)) @ x.T @ targets
    assert np.allclose(method.solve(method.counted)[0], expected, rtol=1e-9, atol=1e-12)
    random = make_method("ridge", random_features=70)
    random.add(f, y)
    assert random.counted.width == 70 and scores(random, f).argmax(axis=1).tolist() != []
    assert (scores(random, f).argmax(axis=1) == y).mean() > 0.8


def test_nearest_mean_of_three_points_by_hand():
    method = make_method("ncm")
    method.add(np.array([[2.0, 0.0], [4.0, 0.0], [0.0, 5.0]], np.float32), np.array([0, 0, 2]))
    found = scores(method, np.array([[1.0, 1.0], [0.0, 3.0]], np.float32), classes=3)
    near = -((np.array([1, 1]) / np.sqrt(2) - np.array([1, 0])) ** 2).sum()
    assert found[0, [0, 2]] == pytest.approx([near, near])
    assert found[1, 2] == pytest.approx(0, abs=1e-6) and found[1, 0] == pytest.approx(-2)
    assert np.all(found[:, 1] == -np.inf), "a class without a sample is never chosen"


@pytest.mark.parametrize("name", HEADS)
def test_a_wider_head_and_a_state_that_went_through_a_file(name):
    f, y = features()
    method = make_method(name)
    method.add(f[y < 2], y[y < 2])
    method.add(f, y)
    again = make_method(name)
    again.load(method.state())
    assert np.array_equal(scores(again, f, classes=8), scores(method, f, classes=8))
    assert np.all(scores(method, f, classes=8)[:, 4:] == -np.inf)


def test_packed_moments_take_what_they_say():
    for width in (3, 64, 100, 200):
        sums = Sums(width, True)
        sums.add(np.ones((2, width), np.float32), np.array([0, 4]))
        assert Sums.bytes(width, 5, True) == sum(a.nbytes for a in sums.state().values())
        assert np.array_equal(sums.second_moment(), np.full((width, width), 2.0))


@given(st.lists(st.integers(0, 5000), max_size=60), st.integers(0, 4000))
def test_visited_numbers_are_a_set(numbers, start):
    visited, known = Visited(), set()
    visited.add(np.arange(start))
    known |= set(range(start))
    for n in numbers:
        assert visited.add(np.array([n])).tolist() == [n not in known]
        known.add(n)
    again = Visited()
    again.load(visited.state())
    asked = np.arange(6000)
    assert again.has(asked).tolist() == visited.has(asked).tolist() == [n in known for n in range(6000)]


@pytest.mark.parametrize("name", HEADS)
def test_each_sample_counts_once_however_many_epochs_visit_it(stream, name):
    with learned(stream, options(name, epochs=3)) as learner:
        method = learner.core.parts.method
        assert method.counted.counts.tolist() == [48.0] * 4
        assert learner.core.parts.engine.plan.extras.trains == "none"
        assert learner.core.trainer.steps == 2 * 3 * 6


def test_a_buffer_that_overflows_counts_what_came_later():
    rng = np.random.default_rng(0)
    given = {**options("ncm"), "body": "frozen"}
    given.pop("epochs")
    with Learner(given.pop("network"), input_shape=(1, 4, 4), classes=2, buffer=20, tasks=False, **given) as learner:
        for _ in range(6):
            learner.observe(rng.integers(0, 255, (10, 1, 4, 4)).astype(np.uint8), [0, 1] * 5)
            learner.learn()
        assert learner.core.parts.method.counted.counts.tolist() == [30.0, 30.0]


def people(seed=0, n=160):
    """Samples of 4 classes in two tasks, with subjects 0..3; those of subject 2 in the second task only."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(4), n // 4)
    pictures = rng.integers(60, 180, (4, 1, 6, 6))
    x = np.clip(pictures[y] + rng.normal(0, 20, (n, 1, 6, 6)), 0, 255).astype(np.uint8)
    subjects = np.where(y < 2, rng.integers(0, 2, n), rng.integers(1, 4, n))
    return x, y, subjects


def taught(folder, leave_out=None, **more):
    """A ridge head with a store, taught two tasks; ``leave_out`` a subject that is never observed."""
    x, y, subjects = people()
    given = {**options("ridge"), **more}
    epochs, network = given.pop("epochs"), given.pop("network")
    learner = Learner(network, input_shape=(1, 6, 6), classes=4, store=folder, **given)
    for task in ((0, 1), (2, 3)):
        for k in np.flatnonzero(np.isin(y, task) & (subjects != (-1 if leave_out is None else leave_out))):
            learner.observe(x[k], int(y[k]), subject=int(subjects[k]))
        learner.learn(epochs=epochs)
        learner.end_task()
    return learner


def test_a_head_that_forgot_a_subject_is_one_that_never_saw_it(tmp_path):
    with taught(tmp_path / "a") as learner, taught(tmp_path / "b", leave_out=2) as other:
        receipt = learner.forget(2)
        assert receipt.statistics == "exact" and receipt.ids
        ours, theirs = learner.core.parts.method, other.core.parts.method
        assert ours.counted.counts.tolist() == theirs.counted.counts.tolist()
        for a, b in zip(ours.solve(ours.counted), theirs.solve(theirs.counted)):
            assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()
        assert learner.forget(2).ids == [], "and only once"
        assert ours.counted.counts.tolist() == theirs.counted.counts.tolist()


def test_where_the_body_learned_from_the_subject_the_receipt_says_that_the_head_is_not_exact(tmp_path):
    with taught(tmp_path / "a") as learner:
        before = learner.core.parts.method.counted.counts.sum()
        receipt = learner.forget(0)
        assert receipt.statistics.startswith("not exact") and "retrain_without" in receipt.statistics
        assert learner.core.parts.method.counted.counts.sum() == before - len(receipt.ids), "subtracted all the same"
    with taught(tmp_path / "b", body="frozen") as learner:
        assert learner.forget(0).statistics == "exact", "nobody taught a frozen body"


def test_without_a_store_there_is_nothing_to_subtract_with(stream):
    with learned(stream, options("ncm")) as learner:
        assert learner.forget(0).statistics.startswith("not exact")
    with learned(stream, options("er")) as learner:
        assert learner.forget(0).statistics is None
