"""What methods do to a step: identities with the naive method, projections, penalties, choices, averages."""

from __future__ import annotations

import numpy as np
import pytest

from edgecl.compiler import compile_plan
from edgecl.engine.model import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build
from edgecl.methods import Batch, Draw, cross_entropy, make_method
from edgecl.methods.bic import fit_bias
from edgecl.testing.context import context_of


def engine_of(method, norm=None, seed=0, batch=128):
    """A small mlp over 8 features and 6 classes, planned for what the method asks."""
    graph = build("mlp", (8,), 6, input_dtype="float32", hidden=(16,), norm=norm)
    needs = method.needs
    plan = compile_plan(
        graph,
        batch=batch,
        predict_batch=32,
        fetch=needs.fetch,
        predict_fetch=("logits", "features"),
        sides=method.sides,
        per_weight=needs.per_weight,
        gradient_copies=needs.gradient_copies,
    )
    return NativeEngine(Model(graph, np.random.default_rng(seed)), plan)


def data(seed=0, rows=10, drawn=8):
    rng = np.random.default_rng(seed)
    batch = Batch(
        rng.normal(size=(rows, 8)).astype(np.float32), rng.integers(2, 4, rows), task=1,
        task_units=np.array([2, 3]), seen_units=np.array([True] * 4 + [False] * 2),
    )  # fmt: skip
    logits = rng.normal(size=(drawn, 4)).astype(np.float16), np.full(drawn, 4)
    x = rng.normal(size=(drawn, 8)).astype(np.float32)
    return batch, Draw(np.arange(drawn), x, rng.integers(0, 2, drawn), {"logits": logits})


def trained(name, steps=4, norm=None, replay=True, **hyper):
    method = make_method(name, **hyper)
    engine = engine_of(method, norm)
    c = context_of(engine, task=1, units=[2, 3])
    for k in range(steps):
        batch, draw = data(k)
        method.train_step(c, batch, [draw] if replay else [], 0.1)
    return engine


def values(engine):
    return np.concatenate([p.values for p in engine.model.parameters.values()])


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_gem_with_an_empty_memory_is_naive_bit_for_bit(norm):
    naive = trained("naive", norm=norm, replay=False)
    assert np.array_equal(values(trained("a-gem", norm=norm, replay=False)), values(naive))
    assert not np.array_equal(values(trained("a-gem", norm=norm)), values(naive))


def test_der_with_alpha_0_is_naive_on_a_net_without_batch_norm():
    naive = trained("naive", replay=False)
    assert np.allclose(values(trained("der", alpha=0, replay_forward="separate")), values(naive), atol=1e-7)
    assert not np.allclose(values(trained("der", alpha=0.3)), values(naive), atol=1e-3)


def test_a_gem_takes_a_step_that_does_not_raise_the_memorys_loss():
    method = make_method("a-gem")
    engine = engine_of(method)
    c = context_of(engine, task=1)
    projected = 0
    for k in range(12):
        batch, draw = data(k)
        draw = Draw(draw.slots, draw.x, draw.y + 2 * (k % 2))  # in every other step of the classes of the batch
        g, r = gradient(engine, batch.x, batch.y), gradient(engine, draw.x, draw.y)
        seen = []
        method.train_step(c, batch, [draw], 0.1, before_step=lambda e, seen=seen: seen.append(e.gradients.flat.copy()))
        taken = seen[0].astype(np.float64)
        if g @ r < 0:
            projected += 1
            assert abs(taken @ r) < 1e-4 * np.linalg.norm(taken) * np.linalg.norm(r)
            assert np.allclose(taken, g - (g @ r) / (r @ r) * r, atol=1e-5)
        else:
            assert np.allclose(taken, g, atol=1e-6)
    assert 0 < projected < 12, "both cases were met"


def gradient(engine, x, y):
    """Of the mean cross-entropy, float64, flat; leaves no trace."""
    logits = engine.forward({"input": x})["logits"]
    engine.backward({"logits": cross_entropy(logits, y)[1]})
    g = engine.gradients.flat.astype(np.float64)
    engine.discard()
    return g


def test_mir_replays_the_candidates_that_the_step_would_harm_most_and_leaves_the_model_alone():
    method = make_method("mir", batch=4)
    engine = engine_of(method)
    batch, draw = data(rows=4, drawn=30)
    before = values(engine).copy()
    lr = 0.5

    def losses():
        z = engine.forward({"input": draw.x}, training=False)["logits"]
        return np.array([cross_entropy(z[i : i + 1], draw.y[i : i + 1])[0] for i in range(len(draw))])

    now, g = losses(), gradient(engine, batch.x, batch.y)
    at = 0
    for p in engine.model.parameters.values():
        p.values -= (lr * g[at : at + p.values.size]).astype(np.float32)
        at += p.values.size
    engine._network.refresh()
    harm = losses() - now
    at = 0
    for p in engine.model.parameters.values():
        p.values[:] = before[at : at + p.values.size]
        at += p.values.size
    engine._network.refresh()
    chosen = []
    result = method.train_step(
        context_of(engine), batch, [draw], lr, before_step=lambda e: chosen.append(values(e).copy())
    )
    assert result.chosen[0].tolist() == sorted(np.argsort(-harm, kind="stable")[:4].tolist())
    assert np.array_equal(chosen[0], before), "nothing moved before the step"


@pytest.mark.parametrize("name", ["online-ewc", "si"])
def test_a_penalty_pulls_back_to_the_anchor_and_never_diverges(name):
    strength = {"online-ewc": {"penalty": 1e6}, "si": {"c": 1e6}}[name]
    method = make_method(name, **strength)
    engine = engine_of(method)
    importance, anchor = engine.per_weight(method.importance), engine.per_weight("anchor")
    importance.flat[:] = 1
    method.anchor_here(engine)
    held = anchor.flat.copy()
    c = context_of(engine, task=1)
    for k in range(5):
        method.train_step(c, data(k)[0], [], 0.5)
    assert np.abs(values(engine) - held).max() < 1e-5
    importance.flat[:] = 0
    method.train_step(c, data(9)[0], [], 0.5)
    assert np.abs(values(engine) - held).max() > 1e-3


def test_the_step_with_a_penalty_is_the_implicit_one():
    method = make_method("online-ewc", penalty=3.0)
    engine = engine_of(method)
    rng = np.random.default_rng(4)
    batch = data()[0]
    fisher, anchor = engine.per_weight("fisher").flat, engine.per_weight("anchor").flat
    fisher[:], anchor[:] = rng.random(fisher.size), rng.normal(size=anchor.size)
    th, g, lr = values(engine).astype(np.float64), gradient(engine, batch.x, batch.y), 0.2
    pull = 2 * 3.0 * fisher.astype(np.float64)
    method.train_step(context_of(engine), batch, [], lr)
    assert np.allclose(values(engine), (th - lr * g + lr * pull * anchor) / (1 + lr * pull), atol=1e-5)


class Rows:
    """`TaskData` over arrays."""

    subjects = None

    def __init__(self, x, y):
        self.x, self.labels, self.ids = x, y, np.full(len(y), -1)

    def read(self, positions):
        return self.x[positions]


def test_the_importance_of_ewc_is_the_mean_square_of_single_samples_gradients():
    """In the mean over the labels that are drawn, as its docstring says."""
    method = make_method("online-ewc", samples=64)
    engine = engine_of(method, batch=64)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8)).astype(np.float32)
    exact = np.zeros(engine.gradients.flat.size)
    for row in x:  # over all labels, weighted by their probability
        p = np.exp(engine.forward({"input": row[None]}, training=False)["logits"][0].astype(np.float64))
        for label, share in enumerate(p / p.sum()):
            exact += share * gradient(engine, row[None], np.array([label])) ** 2
    before, found = values(engine).copy(), np.zeros_like(exact)
    draws = np.random.default_rng(1)
    for _ in range(300):
        engine.per_weight("fisher").flat[:] = 0
        method.end_task(context_of(engine, draws, data=Rows(x, np.zeros(64, np.int64))))
        found += engine.per_weight("fisher").flat
    assert np.array_equal(values(engine), before) and not engine.gradients.flat.any()
    assert np.array_equal(engine.per_weight("anchor").flat, before)
    found, exact = found / found.mean(), exact / exact.mean()
    large = exact > 0.2
    assert np.abs(found[large] / exact[large] - 1).mean() < 0.2
    assert np.corrcoef(found, exact)[0, 1] > 0.97


def test_the_path_of_si_is_the_fall_of_the_loss():
    """sum of w = - the change of the loss, to first order in the learning rate."""
    method = make_method("si", c=0.0, clip=1e9)
    engine = engine_of(method)
    batch = data(rows=40)[0]
    c = context_of(engine, task=0)
    method.begin_task(c)
    loss = lambda: cross_entropy(engine.forward({"input": batch.x}, training=False)["logits"], batch.y)[0]  # noqa: E731
    first = loss()
    for _ in range(50):
        method.train_step(c, batch, [], 0.002)
    fall = first - loss()
    assert float(engine.per_weight("path").flat.sum()) == pytest.approx(fall, rel=0.05) and fall > 0
    method.end_task(c)
    assert (engine.per_weight("omega").flat >= 0).all() and engine.per_weight("omega").flat.any()
    assert not engine.per_weight("path").flat.any()


def test_an_average_follows_with_its_share_and_without_a_share_is_the_model():
    method = make_method("naive", ema=0.5)
    engine = engine_of(method)
    expected = None
    for k in range(5):
        method.train_step(context_of(engine), data(k)[0], [], 0.1)
        method.average(engine, k)
        now = values(engine).astype(np.float64)
        a = min(0.5, 1 - 1 / (k + 1))
        expected = now if expected is None else a * expected + (1 - a) * now
        side = np.concatenate([p.values for p in engine.side("ema").parameters.values()])
        assert np.allclose(side, expected, atol=1e-6)
    engine.side("ema").blend(0.0)
    assert np.array_equal(np.concatenate([p.values for p in engine.side("ema").parameters.values()]), values(engine))
    assert make_method("naive").sides == () and make_method("naive").predict_side is None


def test_cls_er_asks_the_average_that_knows_the_true_class_better():
    method = make_method("cls-er", plastic_rate=1.0, stable_rate=0.0)
    engine = engine_of(method)
    c = context_of(engine)
    for k in range(6):
        batch, draw = data(k)
        result = method.train_step(c, batch, [draw], 0.5)
        method.after_step(c, result)
    assert engine.side("stable").empty is False, "its first move is not left to chance"
    draw = data(9)[1]
    target = method._with_target(c, draw).extra["target"]
    sides = [c.evaluate(draw.x, ("logits",), side)["logits"] for side in ("plastic", "stable")]
    chances = [np.array([-cross_entropy(z[i : i + 1], draw.y[i : i + 1])[0] for i in range(8)]) for z in sides]
    expected = np.where((chances[0] > chances[1])[:, None], sides[0], sides[1])
    assert np.array_equal(target, expected) and not np.array_equal(sides[0], sides[1])


def test_the_bias_that_was_put_into_logits_is_found():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(4000, 5)) * 2
    y = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
    biased = true.copy()
    biased[:, 3:] = (true[:, 3:] + 1.5) / 0.6  # so that z = 0.6 z' - 1.5
    scale, shift = fit_bias(biased, y, np.array([3, 4]))
    assert scale == pytest.approx(0.6, abs=0.05) and shift == pytest.approx(-1.5, abs=0.1)
    assert fit_bias(true, y, np.array([3, 4])) == (pytest.approx(1, abs=0.1), pytest.approx(0, abs=0.1))
    few = fit_bias(true[:1], y[:1], np.array([3, 4]))
    assert np.isfinite(few).all()
