"""Each method's loss has the gradient that finite differences give, and small cases come out as by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecl.methods import Batch, Draw, cross_entropy, make_method
from edgecl.methods.distil import binary_cross_entropy, sigmoid, soft_cross_entropy
from edgecl.methods.gss import largest_cosine
from edgecl.methods.xder import lengthened

CLASSES, ROWS, DRAWN = 6, 5, 4


def step(seed: int = 0, draws: int = 1):
    """(batch of classes 2 and 3 in the second task, draws of 0 and 1 with stored logits, logits of all rows)."""
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(ROWS, CLASSES)).astype(np.float32)
    batch = Batch(
        np.zeros((ROWS, 8), np.float32),
        rng.integers(2, 4, ROWS),
        task=1,
        task_units=np.array([2, 3]),
        seen_units=np.array([True] * 4 + [False] * 2),
        extra={"teacher": teacher},
    )
    replay = [
        Draw(
            np.arange(DRAWN),
            np.zeros((DRAWN, 8), np.float32),
            rng.integers(0, 2, DRAWN),
            {"logits": (rng.normal(size=(DRAWN, 4)).astype(np.float16), rng.integers(1, 5, DRAWN))},
            {
                "teacher": rng.normal(size=(DRAWN, CLASSES)).astype(np.float32),
                "target": rng.normal(size=(DRAWN, CLASSES)).astype(np.float32),
            },
        )
        for _ in range(draws)
    ]
    return batch, replay, rng.normal(size=(ROWS + draws * DRAWN, CLASSES))


def in_second_task(name: str):
    """A method that stands in its second task, of units 2 and 3 after 0 and 1."""
    method = make_method(name)
    state = {"_old": np.array([0, 1]), "_newest": np.array([2, 3]), "_task_of": np.array([0, 0, 1, 1, -1, -1])}
    for key, value in state.items():
        if hasattr(method, key):
            setattr(method, key, value)
    return method


JOINT = (
    "naive", "er", "er-ace", "tiny-er", "der", "der++", "x-der-lite", "cls-er", "gss", "rainbow", "icarl", "bic", "lwf",
)  # fmt: skip


@pytest.mark.parametrize("name", JOINT)
def test_the_gradient_is_that_of_finite_differences(name):
    method = in_second_task(name)
    count = 1 if method.needs.merged else method.needs.draws
    batch, replay, logits = step(draws=count)

    def loss(z):
        return method.loss({"logits": z.astype(np.float32)}, batch, replay)

    value, seeds = loss(logits)
    assert np.isfinite(value) and value != 0
    found, h = np.zeros_like(logits), 1e-2
    for at in np.ndindex(*logits.shape):
        z = logits.copy()
        z[at] += h
        up = loss(z)[0]
        z[at] -= 2 * h
        found[at] = (up - loss(z)[0]) / (2 * h)
    assert np.allclose(seeds["logits"], found, atol=2e-4)


@pytest.mark.parametrize("name", ["er", "er-ace", "tiny-er", "cls-er", "icarl", "bic", "x-der-lite", "rainbow"])
def test_parts_of_a_step_add_up_to_the_whole(name):
    """What micro-batches rely on: every term divides by the whole draw's rows."""
    method = in_second_task(name)
    batch, replay, logits = step()
    z = logits.astype(np.float32)
    value, grad = method.current_term(z[:ROWS], batch, batch)
    parts = [method.current_term(z[a:b], batch.rows(a, b), batch) for a, b in ((0, 2), (2, ROWS))]
    assert value == pytest.approx(sum(v for v, _ in parts), rel=1e-6)
    assert np.allclose(grad, np.concatenate([g for _, g in parts]), atol=1e-7)
    d = replay[0]
    value, grad = method.replay_term(0, z[ROWS:], d, d, batch)
    parts = [method.replay_term(0, z[ROWS + a : ROWS + b], d.rows(a, b), d, batch) for a, b in ((0, 1), (1, DRAWN))]
    assert value == pytest.approx(sum(v for v, _ in parts), rel=1e-6)
    assert np.allclose(grad, np.concatenate([g for _, g in parts]), atol=1e-7)


def test_er_ace_keeps_current_rows_away_from_units_of_earlier_tasks():
    batch, replay, logits = step()
    seeds = make_method("er-ace").loss({"logits": logits.astype(np.float32)}, batch, replay)[1]["logits"]
    assert not seeds[:ROWS, :2].any(), "old classes, absent from the batch"
    assert seeds[:ROWS, 2:].any(axis=0).all(), "classes of the batch, and those never seen"
    assert seeds[ROWS:].any(axis=0).all(), "replay reaches every unit"


def test_tiny_er_sees_each_row_within_its_own_task():
    batch, replay, logits = step()
    seeds = in_second_task("tiny-er").loss({"logits": logits.astype(np.float32)}, batch, replay)[1]["logits"]
    assert not seeds[:ROWS, [0, 1, 4, 5]].any() and seeds[:ROWS, 2:4].all()
    assert not seeds[ROWS:, 2:].any() and seeds[ROWS:, :2].all()


def test_x_der_lite_trains_current_rows_on_the_tasks_units_and_replayed_ones_on_past_units():
    batch, replay, logits = step()
    method = make_method("x-der-lite", alpha=0)
    seeds = method.loss({"logits": logits.astype(np.float32)}, batch, replay)[1]["logits"]
    assert not seeds[:ROWS, [0, 1, 4, 5]].any() and not seeds[ROWS:, 2:].any()


def test_stored_logits_are_lengthened_by_what_the_network_says_of_later_classes_never_above_the_true_class():
    stored = np.array([[2.0, 1.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0]], np.float16)
    present = np.array([[9.0, 9.0, 4.0, 1.0], [9.0, 9.0, 1.0, -2.0]], np.float32)
    longer = lengthened(stored, np.array([2, 2]), present, np.array([0, 1]), 0.85)
    assert longer[:, :2].tolist() == stored[:, :2].tolist()
    assert longer[0, 2:] == pytest.approx([0.85 * 2.0, 0.85 * 2.0 / 4], abs=2e-3)
    assert longer[1, 2:].tolist() == [1.0, -2.0], "small enough as they are"


def test_distillation_against_oneself_has_no_gradient_and_the_entropy_as_value():
    z = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    units = np.array([True, True, True, False])
    value, grad = soft_cross_entropy(z, z, units, 2.0, 3)
    p = np.exp(z[:, :3] / 2) / np.exp(z[:, :3] / 2).sum(axis=1, keepdims=True)
    assert np.abs(grad).max() < 1e-7
    assert value == pytest.approx(float(-(p * np.log(p)).sum() / 3), rel=1e-5)


def test_binary_cross_entropy_of_two_by_hand():
    z, targets = np.array([[0.0, 100.0]], np.float32), np.array([[1.0, 1.0]])
    value, grad = binary_cross_entropy(z, targets, np.array([True, True]), 1)
    assert value == pytest.approx(np.log(2) / 2)
    assert grad.tolist() == [[pytest.approx(-0.25), pytest.approx(0.0)]]
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_icarl_asks_old_units_for_the_teachers_sigmoid_and_new_ones_for_the_label():
    batch, replay, _ = step()
    method = in_second_task("icarl")
    teacher = np.concatenate([batch.extra["teacher"], replay[0].extra["teacher"]]).astype(np.float64)
    y = np.concatenate([batch.y, replay[0].y])
    z = teacher.copy()
    z[:, 2:4] = np.where(np.arange(2, 4) == y[:, None], 40.0, -40.0)  # certain of the new classes, and right
    seeds = method.loss({"logits": z.astype(np.float32)}, batch, replay)[1]["logits"]
    assert np.abs(seeds).max() < 1e-6


def test_the_cosine_of_last_layer_gradients_is_that_of_the_gradients_written_out():
    rng = np.random.default_rng(2)
    a, b = [
        (rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 4, n))
        for n in (5, 7)
    ]

    def gradients(z, f, y):
        e = np.stack([cross_entropy(row[None], np.array([label]))[1][0] for row, label in zip(z, y)]).astype(np.float64)
        wide = np.concatenate([f, np.ones((len(f), 1))], axis=1)
        return (e[:, :, None] * wide[:, None, :]).reshape(len(f), -1)

    ga, gb = gradients(*a), gradients(*b)
    unit = lambda g: g / np.linalg.norm(g, axis=1, keepdims=True)  # noqa: E731
    assert np.allclose(largest_cosine(a, b), (unit(ga) @ unit(gb).T).max(axis=1), atol=1e-6)
