"""SET and RigL: who leaves, who comes, when; and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.engine.model import Parameter
from edgecl.errors import BadInput
from edgecl.graph import ParameterSpec
from edgecl.sparsity import SET, Candidates, Dense, Evidence, RigL, StepInfo, Tensor, exact_count, make_sparse_training


def tensor_of(values, size, pattern):
    p = Parameter(ParameterSpec("w", (size,), "weight", "zeros"), np.array(values, np.float32))
    p.pattern = np.array(pattern, np.int32)
    return Tensor.of(p, len(values) / size)


def steps(policy, epochs, per_epoch):
    infos = [StepInfo(0, s, epochs * per_epoch, s // per_epoch, epochs, s % per_epoch, per_epoch)
             for s in range(epochs * per_epoch)]  # fmt: skip
    return infos


def test_set_drops_the_share_of_each_sign_that_is_nearest_to_zero():
    t = tensor_of([-4, -3, -2, -1, 0.5, 6, 7, 0.0], 20, [0, 2, 4, 6, 8, 10, 12, 14])
    info = StepInfo(0, 5, 10, 1, 2, 0, 5)
    change = SET(exchanged=0.5).move({"w": t}, {}, info, np.random.default_rng(0)).changes["w"]
    assert change.dropped.tolist() == [4, 6, 8, 14]
    assert change.grown.size == 4 and not np.isin(change.grown, [0, 2, 10, 12]).any()


def test_set_exchanges_after_each_epoch_but_not_before_the_first_step():
    assert [i.step for i in steps(SET(), 4, 3) if SET().due(i)] == [3, 6, 9]
    every = SET(update_every=5)
    assert [i.step for i in steps(every, 4, 3) if every.due(i)] == [5, 10]
    assert [s for s in range(301) if SET().due(StepInfo(None, s))] == [100, 200, 300]


def test_rigl_drops_the_smallest_weights_for_the_dead_ones_with_the_largest_gradient():
    t = tensor_of([0.1, -5, 0.2, 3], 12, [1, 3, 5, 7])
    evidence = {"w": Evidence(dead=Candidates(np.array([0, 2, 9], np.int32), np.array([1, 3, 2], np.float32)))}
    policy = RigL(exchanged=0.5, update_every=2)
    change = policy.move({"w": t}, evidence, StepInfo(None, 2), np.random.default_rng(0)).changes["w"]
    assert change.dropped.tolist() == [1, 5] and change.grown.tolist() == [2, 9]


def test_rigl_exchanges_no_more_than_there_are_candidates_and_keeps_one_weight():
    t = tensor_of([0.1, -5, 0.2, 3], 12, [1, 3, 5, 7])
    policy = RigL(exchanged=0.9, update_every=2)
    few = {"w": Evidence(dead=Candidates(np.array([2], np.int32), np.ones(1, np.float32)))}
    many = {"w": Evidence(dead=Candidates(np.arange(8, 12, dtype=np.int32), np.ones(4, np.float32)))}
    assert policy.move({"w": t}, few, StepInfo(None, 2), None).changes["w"].grown.size == 1
    assert policy.move({"w": t}, many, StepInfo(None, 2), None).changes["w"].dropped.size == 3
    assert policy.move({"w": t}, {"w": Evidence()}, StepInfo(None, 2), None).changes == {}


@settings(max_examples=50, deadline=None)
@given(every=st.integers(1, 40), total=st.integers(1, 300), until=st.floats(0.1, 1.0))
def test_rigl_looks_in_the_step_before_each_exchange_for_a_share_that_falls(every, total, until):
    policy = RigL(update_every=every, until=until)
    infos = [StepInfo(0, s, total) for s in range(total)]
    shares = {i.step: policy.share(i.step, total) for i in infos}
    due = [s for s, share in shares.items() if share]
    assert [i.step for i in infos if isinstance(policy.look(i), Dense)] == [s - 1 for s in due]
    assert all(policy.look(infos[s - 1]).top == shares[s] <= policy.exchanged for s in due)
    assert sorted((shares[s] for s in due), reverse=True) == [shares[s] for s in due]
    assert all(0 < s < until * total and s % every == 0 for s in due)
    if due:
        policy.check(1, total)
    else:
        with pytest.raises(BadInput, match=r"RigL.*never exchange"):
            policy.check(1, total)


def test_policies_refuse_what_would_never_fire_by_their_own_name(net):
    for mask, options, name in (
        ("set", {}, "SET"),
        ("set", {"update_every": 50}, "SET"),
        ("rigl", {}, "RigL"),
    ):
        with pytest.raises(BadInput, match=f"{name} was asked for"):
            make_sparse_training(net, sparsity=0.9, mask=mask, **options).check(epochs=1, steps=40)
    with pytest.raises(BadInput, match=r"Policy 'rigl'.*never move a weight"):
        sparse = make_sparse_training(net, sparsity=0.99, mask="rigl", exchanged=0.01)
        sparse.check(epochs=50, steps=5000)


@pytest.mark.parametrize("mask", ["set", "rigl"])
def test_the_density_is_the_target_at_every_step(net, mask):
    sparse = make_sparse_training(net, sparsity=0.75, mask=mask)
    assert sparse.max_densities() == {"fc1.weight": 0.25, "fc2.weight": 0.25}
    t = {n: exact_count(0.25, s) for n, s in sparse.sizes.items()}
    assert {n: target.count for n, target in sparse.targets.items()} == t
