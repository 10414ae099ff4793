"""Candidates from dense gradients: the true ones, over every backward of a step, on both engines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.compiler import Optimizer
from edgecl.engine.model import Model
from edgecl.graph.builders import build
from edgecl.methods import Batch, Draw, make_method
from edgecl.sparsity import RigL, StepInfo, exact_count, make_sparse_training, top_k
from edgecl.sparsity.dense import DeadGradients
from edgecl.testing.context import context_of


class _Engine:
    """A model's patterns, which is all that the gathering looks at."""

    def __init__(self, size, pattern):
        from edgecl.engine.model import Parameter
        from edgecl.graph import ParameterSpec

        p = Parameter(ParameterSpec("w", (size // 4, 4), "weight", "zeros"), np.zeros(pattern.size, np.float32))
        p.pattern = pattern
        self.model = {"w": p}


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 30), block=st.integers(1, 9), seed=st.integers(0, 999), top=st.integers(0, 20),
    chunks=st.integers(1, 3), ties=st.booleans(),
)  # fmt: skip
def test_blocks_give_the_largest_gradients_of_dead_weights(rows, block, seed, top, chunks, ties):
    rng = np.random.default_rng(seed)
    size = 4 * rows
    pattern = np.flatnonzero(rng.random(size) < 0.4).astype(np.int32)
    dead = DeadGradients(_Engine(size, pattern), {"w": top})
    total = np.zeros(size, np.float32)
    lowest = 0.0  # of twice as many, summed over the backwards before the last
    for chunk in range(chunks):
        gradient = rng.normal(size=size).astype(np.float32)
        if ties:
            gradient = np.round(gradient)
        total += gradient
        for first in range(0, rows, block):
            part = range(first, min(rows, first + block))
            dead.visit("w", part, gradient.reshape(rows, 4)[part.start : part.stop].copy())
        if chunk < chunks - 1:
            held = np.sort(np.abs(np.concatenate([dead._known["w"][1], dead._fresh["w"][1]])))
            lowest += held[-2 * top :][0] if held.size else np.inf
    found = dead.candidates()["w"]
    scores = np.abs(total)
    scores[pattern] = -1
    count = min(top, size - pattern.size)
    assert found.positions.size == count and not np.isin(found.positions, pattern).any()
    best = top_k(scores, count)
    if chunks == 1:
        assert np.array_equal(found.positions, best)
        assert np.array_equal(found.scores, scores[best])
    elif count:  # as documented: off by no more than the lowest score kept before
        assert np.all(np.abs(found.scores - scores[found.positions]) <= lowest + 1e-5)


CASES = {"joint": {}, "separate": {"replay_forward": "separate"}, "micro-batches": {"micro_batch": 3}}


@pytest.mark.parametrize("case", CASES)
def test_a_step_shows_the_dense_gradient_of_all_its_forwards(engine_for, case):
    """Against the gradient that a dense twin with the same weights accumulates."""
    graph = build("mlp", (12,), 4, input_dtype="float32", hidden=(20, 20))
    sparse = make_sparse_training(graph, sparsity=0.75, mask=RigL(exchanged=0.9, update_every=2))
    model = Model(graph, np.random.default_rng(0), sparse.prune)
    twin = Model(graph, np.random.default_rng(0))
    for name, p in model.parameters.items():
        twin[name].values[:] = p.dense().ravel()
    rng = np.random.default_rng(3)
    batch = Batch(rng.normal(size=(8, 12)).astype(np.float32), rng.integers(2, 4, 8))
    replay = [Draw(np.arange(4), rng.normal(size=(4, 12)).astype(np.float32), rng.integers(0, 2, 4))]
    options = dict(CASES[case])
    micro = options.pop("micro_batch", None)
    method = make_method("er", **options)
    engine, dense = engine_for(model, Optimizer(), sparse.max_densities()), engine_for(twin)
    whole = {}
    method.train_step(
        context_of(dense), batch, replay, 0.0, micro_batch=micro,
        before_step=lambda e: whole.update({n: np.abs(e.gradients[n]) for n in sparse.densities}),
    )  # fmt: skip
    sparse.before_forward(engine, StepInfo(0, 1, 100), batch, replay, rng, micro_batch=micro)
    method.train_step(context_of(engine), batch, replay, 0.0, micro_batch=micro, before_step=sparse.before_step)
    state = sparse.state()
    for name, density in sparse.densities.items():
        found, scores = state[f"candidates/{name}"], state[f"scores/{name}"]
        share = RigL(exchanged=0.9, update_every=2).share(2, 100)
        assert found.size == exact_count(share * density, model[name].spec.size)
        if case == "joint":
            assert np.allclose(scores, whole[name][found], atol=1e-6)
        among = whole[name].copy()
        among[model[name].pattern] = -1
        best = top_k(among, found.size)
        assert np.sum(whole[name][found]) > (0.9999 if case == "joint" else 0.9) * np.sum(whole[name][best])
