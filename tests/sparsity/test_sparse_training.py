"""SparseTraining on the engines: exact counts, untouched weights, resume."""

import numpy as np
import pytest

from edgecl.compiler import Optimizer
from edgecl.engine.model import Model
from edgecl.methods import Batch, Draw, cross_entropy, make_method
from edgecl.sparsity import StepInfo, exact_count, make_sparse_training, top_k
from edgecl.testing.context import context_of

NAMES = ("fc1.weight", "fc2.weight")
METHOD = make_method("er")


@pytest.fixture
def setup(net, engine_for):
    def make(seed=0, **choices):
        sparse = make_sparse_training(net, **choices)
        model = Model(net, np.random.default_rng(seed))
        sparse.setup(model, np.random.default_rng(seed))
        return sparse, engine_for(model, Optimizer("sgd", 0.9, 1e-3), sparse.max_densities())

    return make


def batch_at(step, task=0):
    rng = np.random.default_rng(1000 + step)
    units = np.array([2 * task, 2 * task + 1])
    batch = Batch(rng.normal(size=(8, 12)).astype(np.float32), rng.choice(units, 8), task=task, task_units=units)
    drawn = Draw(np.arange(8), rng.normal(size=(8, 12)).astype(np.float32), rng.integers(0, 2, 8))
    return batch, [drawn] if task else []


def run(sparse, engine, rng, first, last, task=0, steps=40, watch=None):
    for s in range(first, last):
        batch, replay = batch_at(s, task)
        info = StepInfo(task, s, steps, 0, 1, s, steps)
        sparse.before_forward(engine, info, batch, replay, rng)

        def hook(e, s=s):
            sparse.before_step(e)
            if watch is not None:
                watch(s, e)

        METHOD.train_step(context_of(engine, rng), batch, replay, 0.05, before_step=hook)


def living(engine):
    return {n: engine.model[n].living for n in NAMES}


def test_setup_keeps_the_largest_weights_with_an_exact_count(setup, net):
    _, engine = setup(sparsity=0.75)
    dense = Model(net, np.random.default_rng(0))
    for name in NAMES:
        p = engine.model[name]
        k = exact_count(0.25, p.spec.size)
        assert np.array_equal(p.pattern, top_k(np.abs(dense[name].values), k))
    assert engine.model["logits.weight"].pattern is None  # the classifier stays dense


@pytest.mark.parametrize("form", ["released", "paper"])
def test_counts_follow_the_schedule_exactly(setup, form):
    sparse, engine = setup(sparsity=0.75, gradient_keep=0.8, form=form)
    rng, seen = np.random.default_rng(1), {}
    for task in (0, 1):
        sparse.begin_task(context_of(engine, task=task))
        run(sparse, engine, rng, 0, 40, task, watch=lambda s, e, t=task: seen.update({(t, s): living(e)}))
    sizes = {n: engine.model[n].spec.size for n in NAMES}
    for (task, step), found in seen.items():
        expanded = step < 4 and (form == "released" or task > 0)
        density = 0.26 if expanded else 0.25
        assert found == {n: exact_count(density, sizes[n]) for n in NAMES}, (task, step)


def test_the_pattern_moves_at_every_update_until_it_freezes(setup):
    sparse, engine = setup(sparsity=0.75)
    patterns = {}
    run(
        sparse,
        engine,
        np.random.default_rng(1),
        0,
        40,
        watch=lambda s, e: patterns.update({s: e.model[NAMES[0]].pattern}),
    )
    moved = [s for s in range(1, 40) if not np.array_equal(patterns[s], patterns[s - 1])]
    assert set(moved) <= set(range(4, 36, 4)) and len(moved) >= 7


def test_weights_outside_the_gradient_mask_are_bit_equal_after_the_step(setup):
    sparse, engine = setup(sparsity=0.5, mask="static", gradient_keep=0.6, masking={"refresh": 10})
    rng = np.random.default_rng(1)
    run(sparse, engine, rng, 0, 5)
    for s in range(5, 21):
        before = {n: (engine.model[n].values.copy(), engine.model[n].moments["momentum"].copy()) for n in NAMES}
        run(sparse, engine, rng, s, s + 1)
        for n in NAMES:
            p = engine.model[n]
            k = exact_count(0.6 * 0.5, p.spec.size)
            assert p.trained_count == k
            outside = np.setdiff1d(np.arange(p.living), p.gradient_subset)
            assert np.array_equal(p.values[outside], before[n][0][outside])
            assert np.array_equal(p.moments["momentum"][outside], before[n][1][outside])
            assert np.count_nonzero(p.values[p.gradient_subset] != before[n][0][p.gradient_subset]) > 0.5 * k


def test_a_refresh_chooses_the_largest_gradients_of_all_living_weights(setup):
    sparse, engine = setup(sparsity=0.5, mask="static", gradient_keep=0.6, masking={"refresh": 10})
    free, reference = setup(sparsity=0.5, mask="static")
    rng, found = np.random.default_rng(1), {}
    run(sparse, engine, rng, 0, 10)
    reference.load(engine.state())
    for n in NAMES:
        reference.set_gradient_mask(n, None)
    subsets = {n: engine.model[n].gradient_subset.copy() for n in NAMES}
    run(
        free,
        reference,
        rng,
        10,
        11,
        watch=lambda s, e: found.update({n: np.abs(e.gradients[n]).copy() for n in NAMES}),
    )
    run(sparse, engine, rng, 10, 11)
    for n in NAMES:
        k = exact_count(0.3, engine.model[n].spec.size)
        assert np.array_equal(engine.model[n].gradient_subset, top_k(found[n], k))
        assert not np.array_equal(engine.model[n].gradient_subset, subsets[n])


def test_a_pattern_change_between_refreshes_chooses_a_new_gradient_subset(setup):
    sparse, engine = setup(sparsity=0.75, gradient_keep=0.8, masking={"refresh": 1000})
    trained = {}
    run(
        sparse,
        engine,
        np.random.default_rng(1),
        0,
        12,
        watch=lambda s, e: trained.update({s: {n: e.model[n].trained_count for n in NAMES}}),
    )
    expected = {n: exact_count(0.8 * 0.25, engine.model[n].spec.size) for n in NAMES}
    assert all(t == expected for t in trained.values())


@pytest.mark.parametrize("refresh", [1, 1000])
def test_an_update_keeps_what_the_released_importance_says(setup, refresh):
    sparse, engine = setup(sparsity=0.5, gradient_keep=0.5, masking={"refresh": refresh}, weight=40.0)
    rng, score, by_weight = np.random.default_rng(1), {}, {}
    run(sparse, engine, rng, 0, 3)

    def watch(step, e):
        for n in NAMES:
            g = np.zeros(e.model[n].living, np.float32)
            subset = e.model[n].gradient_subset
            g[subset] = np.abs(e.gradients[n][subset])
            score[n] = g

    run(sparse, engine, rng, 3, 4, watch=watch)
    old = {n: engine.model[n].pattern for n in NAMES}
    for n in NAMES:
        by_weight[n] = np.abs(engine.model[n].values)
        score[n] = by_weight[n] + 40 * score[n]
    assert sparse.before_forward(engine, StepInfo(0, 4, 40, 0, 1, 4, 40), *batch_at(4), rng)
    for n in NAMES:
        k = exact_count(0.49, engine.model[n].spec.size)
        kept = old[n][top_k(score[n], k)]
        assert np.isin(kept, engine.model[n].pattern).all()
        assert not np.isin(old[n][top_k(by_weight[n], k)], engine.model[n].pattern).all()


def test_the_papers_gradients_are_single_head_and_leave_no_trace(setup):
    from edgecl.sparsity.gradients import two_gradients

    sparse, engine = setup(sparsity=0.75, gradient_keep=0.8)
    run(sparse, engine, np.random.default_rng(1), 0, 6)
    batch, replay = batch_at(50, task=1)
    before = {k: v.copy() for k, v in engine.state().items()}
    subsets = {n: engine.model[n].gradient_subset.copy() for n in NAMES}
    current, replayed = two_gradients(engine, batch, replay, NAMES)
    small = two_gradients(engine, batch, replay, NAMES, micro_batch=3)
    after = engine.state()
    assert before.keys() == after.keys() and all(np.array_equal(before[k], after[k]) for k in before)
    assert not np.any(engine.gradients.flat)
    assert all(np.array_equal(engine.model[n].gradient_subset, subsets[n]) for n in NAMES)
    for n in NAMES:
        engine.set_gradient_mask(n, None)
    for data, units, found, parts in (
        (batch, np.array([False, False, True, True]), current, small[0]),
        (replay[0], None, replayed, small[1]),
    ):
        outs = engine.forward({"input": data.x})
        engine.backward({"logits": cross_entropy(outs["logits"], data.y, units)[1]})
        for n in NAMES:
            assert np.allclose(found[n], np.abs(engine.gradients[n]), atol=1e-7)
            assert np.allclose(parts[n], found[n], atol=1e-6)
        engine.discard()


@pytest.mark.parametrize("form", ["released", "paper"])
@pytest.mark.parametrize("stop", [0, 3, 7, 8, 33, 40])
def test_stopping_and_resuming_gives_the_same_bits(setup, form, stop):
    choices = {"sparsity": 0.75, "gradient_keep": 0.8, "form": form, "masking": {"refresh": 6}}
    straight, engine = setup(**choices)
    rng = np.random.default_rng(1)
    run(straight, engine, rng, 0, stop)
    state, kept, drawn = straight.state(), engine.state(), rng.bit_generator.state
    state, kept = ({k: v.copy() for k, v in d.items()} for d in (state, kept))
    run(straight, engine, rng, stop, 40)
    run(straight, engine, rng, 0, 12, task=1)

    resumed, other = setup(seed=9, **choices)
    other.load(kept)
    resumed.load(state)
    again = np.random.default_rng(0)
    again.bit_generator.state = drawn
    run(resumed, other, again, stop, 40)
    run(resumed, other, again, 0, 12, task=1)
    a, b = engine.state(), other.state()
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_gradient_masking_without_a_mask_works_on_dense_tensors(setup):
    sparse, engine = setup(gradient_keep=0.25)
    run(sparse, engine, np.random.default_rng(1), 0, 2)
    for n in NAMES:
        p = engine.model[n]
        assert p.pattern is None and p.trained_count == exact_count(0.25, p.spec.size)


def test_what_is_kept_between_steps_stays_within_the_planned_bytes(setup):
    sparse, engine = setup(sparsity=0.75, gradient_keep=0.8)
    most = 0
    rng = np.random.default_rng(1)
    for s in range(40):
        run(sparse, engine, rng, s, s + 1)
        most = max(most, sum(a.nbytes for a in sparse.state().values()))
    assert 0.95 * sparse.extra_bytes() <= most <= sparse.extra_bytes()
