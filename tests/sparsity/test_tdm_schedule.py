"""TDM's schedule: the released table, its scaling to other lengths, the paper's form, and its refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.engine.model import Parameter
from edgecl.errors import BadInput
from edgecl.graph import ParameterSpec
from edgecl.sparsity import LAST, TDM, Evidence, Move, StepInfo, Tensor, exchange, make_sparse_training
from edgecl.sparsity.masks import magnitude_pattern
from edgecl.sparsity.moves import stages


def steps_of(epochs, per_epoch, task=0):
    for s in range(epochs * per_epoch):
        yield StepInfo(task, s, epochs * per_epoch, s // per_epoch, epochs, s % per_epoch, per_epoch)


def table(policy, s, epochs, per_epoch=3, task=0):
    """{step: (prune-to sparsity, grow-to sparsity)} of one task."""
    found = {}
    for info in steps_of(epochs, per_epoch, task):
        move = policy.due(info, 1 - s)
        if move is not None:
            found[info.step] = tuple(None if d is None else round(1 - d, 6) for d in move)
    return found


def exchanged(policy, parameter, density, move, rng):
    """The patterns that such a move sets one after the other."""
    tensor = Tensor.of(parameter, density)
    change = exchange(tensor, move, lambda: policy.importance(tensor, Evidence()), rng)
    return [] if change is None else stages(policy.name, parameter, change, 1.0)


@pytest.mark.parametrize("s", [0.75, 0.90])
def test_the_released_table_at_50_epochs(s):
    expected = {0: (s, round(s - 0.01, 6))}
    expected.update({5 * 3 * k: (round(s + 0.01, 6), s) for k in range(1, 9)})
    expected[45 * 3] = (s, None)  # bounds equal: no growth, frozen to the end
    assert table(TDM(), s, 50) == expected


@pytest.mark.parametrize("epochs", [10, 20, 50])
def test_the_schedule_scales_with_the_number_of_epochs(epochs):
    found = table(TDM(), 0.9, epochs, per_epoch=2)
    assert list(found) == [k * epochs // 10 * 2 for k in range(10)]
    assert list(found.values()) == list(table(TDM(), 0.9, 50).values())


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_fewer_than_ten_epochs_use_the_same_fractions_in_steps(epochs):
    found = table(TDM(), 0.9, epochs, per_epoch=40)
    assert list(found) == [k * epochs * 4 for k in range(10)]
    assert list(found.values()) == list(table(TDM(), 0.9, 50).values())


@settings(max_examples=40, deadline=None)
@given(epochs=st.integers(1, 60), per_epoch=st.integers(1, 12), form=st.sampled_from(["released", "paper"]))
def test_every_task_ends_at_the_target_density(epochs, per_epoch, form):
    size, s, rng = 400, 0.75, np.random.default_rng(0)
    p = Parameter(ParameterSpec("w", (20, 20), "weight", "zeros"), rng.normal(size=size).astype(np.float32))
    p.set_pattern(magnitude_pattern(p.values, 1 - s))
    policy = TDM(form=form)
    for task in range(2):
        for info in steps_of(epochs, per_epoch, task):
            moves = policy.move({"w": Tensor.of(p, 1 - s)}, {"w": Evidence()}, info, rng)
            for change in () if moves is None else moves.changes.values():
                for pattern in stages("tdm", p, change, policy.peak_density(1 - s)):
                    p.set_pattern(pattern)
            assert p.density <= policy.peak_density(1 - s)
        # A paper-form task of a single step can only expand; plan-time checking refuses such tasks.
        if form == "released" or epochs * per_epoch >= 10:
            assert p.living == 100


def test_the_gradient_is_kept_at_the_step_before_each_update_and_at_the_tasks_end():
    for epochs, per_epoch in ((50, 3), (20, 5), (4, 25)):
        policy = TDM()
        infos = list(steps_of(epochs, per_epoch))
        kept = [i.step for i in infos if policy.look(i) == LAST]
        updates = [i.step for i in infos if policy.due(i, 0.25) is not None]
        assert kept == [s - 1 for s in updates[1:]] + [len(infos) - 1]


def test_epochs_that_shrink_under_data_removal_still_keep_the_last_gradient():
    policy, kept, step = TDM(), [], 0
    for epoch in range(10):
        length = 10 - epoch // 2
        for i in range(length):
            if policy.look(StepInfo(0, step, 100, epoch, 10, i, length)) == LAST:
                kept.append((epoch, i))
            step += 1
    assert kept == [(e, 9 - e // 2) for e in range(10)]


def test_the_papers_form_expands_from_the_second_task_on_and_shrinks_back_a_period_later():
    first, second = (list(table(TDM(form="paper"), 0.75, 50, task=t).items()) for t in (0, 1))
    assert first == [(15 * k, (0.76, 0.75)) for k in range(1, 10)]
    assert second == [(0, (None, 0.74)), (15, (0.75, None)), *first[1:]]


def test_an_open_ended_stream_shrinks_and_expands_every_so_many_steps():
    policy = TDM(update_every=7)
    due = {s: policy.due(StepInfo(None, s), 0.25) for s in range(22)}
    assert {s: u for s, u in due.items() if u} == dict.fromkeys((7, 14, 21), Move(0.24, 0.25))
    assert [s for s in range(22) if policy.look(StepInfo(None, s)) == LAST] == [6, 13, 20]


def test_released_importance_adds_half_the_gradient_and_the_papers_both():
    p = Parameter(ParameterSpec("w", (3,), "weight", "zeros"), np.array([-1.0, 2.0, 0.5], np.float32))
    t = Tensor.of(p, 1.0)
    g, c, r = (np.array(v, np.float32) for v in ([1, 0, 4], [2, 0, 0], [0, 0, 8]))
    assert TDM().importance(t, Evidence(last=g)).tolist() == [1.5, 2.0, 2.5]
    paper = TDM(form="paper", alpha=0.5, beta=0.25)
    assert paper.importance(t, Evidence(current=c, replay=r)).tolist() == [2.0, 2.0, 2.5]
    assert TDM().importance(t, Evidence()).tolist() == [1.0, 2.0, 0.5]


def test_survivors_keep_value_and_optimizer_state_and_newcomers_start_at_zero():
    rng = np.random.default_rng(3)
    p = Parameter(ParameterSpec("w", (40, 25), "weight", "zeros"), rng.normal(size=1000).astype(np.float32))
    p.moments["momentum"] = rng.normal(size=1000).astype(np.float32)
    p.set_pattern(magnitude_pattern(p.values, 0.25))
    before, before_m = p.dense().ravel().copy(), p.dense(p.moments["momentum"]).ravel().copy()
    old = p.pattern
    patterns = exchanged(TDM(), p, 0.25, Move(0.24, 0.26), rng)
    for pattern in patterns:
        p.set_pattern(pattern)
    assert p.living == 260
    stay, fresh = patterns[0], np.setdiff1d(p.pattern, patterns[0])
    assert len(stay) == 240 and len(fresh) == 20
    assert np.array_equal(p.dense().ravel()[stay], before[stay])
    assert np.array_equal(p.dense(p.moments["momentum"]).ravel()[stay], before_m[stay])
    assert np.isin(fresh, old).any()  # one was dropped and drawn again: it is a newcomer too
    for position in fresh:
        assert p.dense().ravel()[position] == 0 and p.dense(p.moments["momentum"]).ravel()[position] == 0


def test_a_schedule_that_never_fires_is_refused_at_plan_time(net):
    sparse = make_sparse_training(net, sparsity=0.9)
    sparse.check(epochs=50, steps=5000)
    sparse.check(epochs=1, steps=10)
    sparse.check(epochs=None, steps=None)
    with pytest.raises(BadInput, match="never run its schedule"):
        sparse.check(epochs=3, steps=9)
    make_sparse_training(net, sparsity=0.9, mask="static").check(epochs=1, steps=1)
    with pytest.raises(BadInput, match="never move a weight"):
        make_sparse_training(net, sparsity=0.9, delta=0.0001).check(epochs=50, steps=5000)


def test_the_planner_sees_the_expanded_density(net):
    assert make_sparse_training(net, sparsity=0.75).max_densities() == pytest.approx(
        {"fc1.weight": 0.26, "fc2.weight": 0.26}
    )
    assert make_sparse_training(net, sparsity=0.75, mask="static").max_densities() == {
        "fc1.weight": 0.25,
        "fc2.weight": 0.25,
    }
    assert make_sparse_training(net).max_densities() == {}
