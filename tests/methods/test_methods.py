"""Methods on a small net: loss forms, masking, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from edgecl.compiler import Optimizer
from edgecl.engine.model import Model
from edgecl.errors import BadInput
from edgecl.graph.builders import build
from edgecl.methods import (
    METHODS,
    Batch,
    Draw,
    Needs,
    NonFiniteLoss,
    StepResult,
    cross_entropy,
    hyperparameters,
    make_method,
    methods,
)
from edgecl.methods.needs import LOGITS
from edgecl.testing.context import context_of


@pytest.fixture
def make_engine(engine_for):
    def make(norm=None, seed=0, **optimizer):
        graph = build("mlp", (8,), 6, input_dtype="float32", hidden=(16,), norm=norm)
        return engine_for(Model(graph, np.random.default_rng(seed)), Optimizer(**optimizer))

    return make


def data(seed=0, rows=10, drawn=8, draws=1):
    rng = np.random.default_rng(seed)
    batch = Batch(
        rng.normal(size=(rows, 8)).astype(np.float32),
        rng.integers(2, 4, rows),
        task=1,
        task_units=np.array([2, 3]),
        seen_units=np.array([True] * 4 + [False] * 2),
    )
    replay = [
        Draw(
            np.arange(drawn),
            rng.normal(size=(drawn, 8)).astype(np.float32),
            rng.integers(0, 2, drawn),
            {"logits": (rng.normal(size=(drawn, 4)).astype(np.float16), rng.integers(0, 5, drawn))},
        )
        for _ in range(draws)
    ]
    return batch, replay


def gradient_of(method, engine, batch, replay, **how):
    """The accumulated gradient of one train_step that takes no step (lr 0), and its result."""
    seen = []
    result = method.train_step(
        context_of(engine), batch, replay, 0.0, before_step=lambda e: seen.append(e.gradients.flat.copy()), **how
    )
    return seen[0], result


REPLAYING = [("er", {}), ("er", {"beta": 0.7}), ("der", {}), ("der++", {"draws": 1}), ("der++", {"draws": 2})]


@pytest.mark.parametrize(("name", "hyper"), REPLAYING)
def test_without_batch_norm_joint_separate_and_micro_batches_give_the_same_gradient(make_engine, name, hyper):
    joint = make_method(name, **hyper)
    batch, replay = data(draws=joint.needs.draws)
    g, result = gradient_of(joint, make_engine(), batch, replay)
    separate = make_method(name, replay_forward="separate", **hyper)
    for method, how in ((separate, {}), (joint, {"micro_batch": 3}), (separate, {"micro_batch": 5})):
        other, same = gradient_of(method, make_engine(), batch, replay, **how)
        assert np.allclose(other, g, atol=1e-6)
        assert same.loss == pytest.approx(result.loss, rel=1e-6)
        assert np.allclose(same.logits_current, result.logits_current, atol=1e-5)
        assert [len(a) for a in same.logits_replay] == [8] * len(replay)


def test_with_batch_norm_the_form_of_the_forward_matters(make_engine):
    batch, replay = data()
    joint, _ = gradient_of(make_method("er"), make_engine("batch"), batch, replay)
    separate, _ = gradient_of(make_method("er", replay_forward="separate"), make_engine("batch"), batch, replay)
    assert np.abs(joint - separate).max() > 1e-3


def test_loss_is_what_the_joint_step_minimises(make_engine):
    method = make_method("der++")
    batch, replay = data()
    engine = make_engine()
    x = np.concatenate([batch.x, replay[0].x])
    outs = engine.forward({"input": x})
    value, seeds = method.loss(outs, batch, replay)
    engine.backward(seeds)
    g = engine.gradients.flat.copy()
    engine.clear_gradients()
    by_step, result = gradient_of(method, engine, batch, replay)
    assert np.array_equal(by_step, g) and result.loss == value
    assert set(result.terms) == {"current", "replay"}
    assert result.samples == 18


def test_er_is_the_mean_over_the_concatenation_and_with_beta_a_weighted_sum():
    batch, replay = data()
    logits = np.random.default_rng(5).normal(size=(18, 6)).astype(np.float32)
    y = np.concatenate([batch.y, replay[0].y])
    value, seeds = make_method("er").loss({"logits": logits}, batch, replay)
    expected, grad = cross_entropy(logits, y)
    assert value == pytest.approx(expected)
    assert np.allclose(seeds["logits"], grad, atol=1e-7)
    weighted, _ = make_method("er", beta=2.0).loss({"logits": logits}, batch, replay)
    parts = cross_entropy(logits[:10], batch.y)[0] + 2 * cross_entropy(logits[10:], replay[0].y)[0]
    assert weighted == pytest.approx(parts)


def test_two_draws_give_each_term_its_own_and_one_draw_serves_both():
    batch, (a, b) = data(draws=2)
    logits = np.random.default_rng(5).normal(size=(26, 6)).astype(np.float32)
    outs, weights = {"logits": logits}, {"alpha": 0.3, "beta": 0.8}
    current = cross_entropy(logits[:10], batch.y)[0]
    two = make_method("der++", draws=2, **weights).loss(outs, batch, [a, b])[0] - current
    mse = make_method("der", alpha=0.3).loss({"logits": logits[:18]}, batch, [a])[0] - current
    assert two == pytest.approx(mse + 0.8 * cross_entropy(logits[18:], b.y)[0])
    one = make_method("der++", draws=1, **weights).loss({"logits": logits[:18]}, batch, [a])[0] - current
    assert one == pytest.approx(mse + 0.8 * cross_entropy(logits[10:18], a.y)[0])


def test_the_default_draws_follow_the_form_of_the_forward():
    assert make_method("der++").needs == Needs(draws=1, fields=(LOGITS,))
    assert make_method("der++", replay_forward="separate").needs.draws == 2
    assert make_method("der++", draws=2).needs.rows(32, 16) == 64
    assert make_method("der++", draws=2).needs.rows(32, 16, "separate") == 32
    assert make_method("er").needs.rows(8, 32, "joint", 12) == 12
    assert make_method("naive").needs.rows(32, 16) == 32


def test_masked_current_loss_leaves_other_tasks_units_alone_but_replay_reaches_them():
    batch, replay = data()
    logits = np.random.default_rng(1).normal(size=(18, 6)).astype(np.float32)
    seeds = make_method("er", current_loss="masked").loss({"logits": logits}, batch, replay)[1]["logits"]
    assert not seeds[:10, [0, 1, 4, 5]].any() and seeds[:10, [2, 3]].all()
    assert seeds[10:].all()
    full = make_method("er").loss({"logits": logits}, batch, replay)[1]["logits"]
    assert full.all()  # Mammoth's: unseen units are pushed down too
    hidden = make_method("er", mask_unseen=True).loss({"logits": logits}, batch, replay)[1]["logits"]
    assert not hidden[:, 4:].any() and hidden[:, :4].all()


def test_masked_equals_full_in_a_stream_without_tasks():
    batch = Batch(np.zeros((2, 8), np.float32), np.array([0, 1]))
    logits = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    a, b = (make_method("naive", current_loss=c).loss({"logits": logits}, batch, [])[0] for c in ("full", "masked"))
    assert a == b


PLAIN = sorted(  # the others need a plan of their own: see test_every_method
    n for n in methods() if make_method(n).needs in (Needs(), Needs(draws=1), make_method("der").needs)
)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("form", ["joint", "separate"])
def test_training_reduces_the_loss(make_engine, name, form):
    method = make_method(name, replay_forward=form)
    batch, replay = data(draws=method.needs.draws)
    engine = make_engine()
    losses = [method.train_step(context_of(engine), batch, replay, 0.1).loss for _ in range(150)]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("name", ["er", "der++"])
def test_before_there_is_anything_to_replay_the_step_is_the_naive_one(make_engine, name):
    batch, replay = data()
    empty = [replay[0].rows(0, 0)]
    naive, _ = gradient_of(make_method("naive"), make_engine(), batch, [])
    for none_yet in ([], empty):
        g, result = gradient_of(make_method(name), make_engine(), batch, none_yet)
        assert np.allclose(g, naive) and result.logits_replay == []


def test_a_loss_that_is_not_finite_changes_nothing(make_engine):
    batch, replay = data()
    engine = make_engine("batch", momentum=0.9)
    method = make_method("der++", draws=1, replay_forward="separate")
    method.train_step(context_of(engine), batch, replay, 0.1)
    before = {k: v.copy() for k, v in engine.state().items()}
    replay[0].widths[3] = 4
    replay[0].logits[3, 2] = np.nan
    with pytest.raises(NonFiniteLoss, match=r"current [\d.]+, replay nan"):
        method.train_step(context_of(engine), batch, replay, 0.1)
    after = engine.state()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert not np.any(engine.gradients.flat)


def test_offered_logits_are_those_of_the_training_forward_cut_to_the_units_in_use():
    logits = np.array([[1.5, -1e6, 3.0]], np.float32)
    fields = make_method("der++").offer_fields(StepResult(0.0, logits, [], 1), 2)
    assert fields["logits"].dtype == np.float16
    assert fields["logits"].tolist() == [[1.5, -65504.0]]
    assert make_method("er").offer_fields(StepResult(0.0, logits, [], 1), 2) == {}


def test_scores_never_choose_a_class_that_was_not_seen():
    logits = np.array([[0.0, 1.0, 9.0]], np.float32)
    scores = make_method("naive").scores({"logits": logits}, np.array([True, True, False]))
    assert scores.argmax() == 1 and scores[0, 2] == -np.inf


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_method_can_be_made_again_from_its_hyperparameters(name):
    method = make_method(name, current_loss="masked", replay_forward="separate")
    again = make_method(name, **method.hyper())
    assert again.hyper() == method.hyper()
    assert replace(again.needs, statistics=None) == replace(method.needs, statistics=None)
    assert set(method.hyper()) == set(hyperparameters(name))
    assert METHODS.get("joint").wants_all_tasks and not METHODS.get("naive").wants_all_tasks


def test_unknown_names_and_bad_values_are_refused():
    with pytest.raises(BadInput, match=r"Did you mean 'der\+\+'"):
        make_method("der+")
    with pytest.raises(BadInput, match="no option 'alpha'"):
        make_method("er", alpha=1.0)
    for bad in ({"alpha": -1.0}, {"beta": float("nan")}, {"draws": 3}, {"current_loss": "half"}):
        with pytest.raises(BadInput):
            make_method("der++", **bad)
    batch, replay = data(draws=2)
    logits = {"logits": np.zeros((26, 6), np.float32)}
    with pytest.raises(BadInput, match="1 replay draws"):
        make_method("er").loss(logits, batch, replay)
    bare = Draw(replay[0].slots, replay[0].x, replay[0].y)
    with pytest.raises(BadInput, match="stored logits"):
        make_method("der++").loss(logits, batch, [bare])
