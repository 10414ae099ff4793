"""Patterns: exact selection and random growth, without dense masks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.sparsity import exact_count, grow_at_random, magnitude_pattern, top_k


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.integers(-3, 3), max_size=30), k=st.integers(0, 35))
def test_top_k_is_exact_and_ties_go_to_the_lower_position(scores, k):
    scores = np.array(scores, np.float32)
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert top_k(scores, k).tolist() == sorted(best)


def test_a_weight_without_a_number_for_importance_goes_first():
    assert top_k(np.array([np.nan, 0.0, np.nan, 1.0]), 2).tolist() == [1, 3]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 200), density=st.floats(0, 1), seed=st.integers(0, 999))
def test_magnitude_pruning_keeps_the_exact_count_of_the_largest(size, density, seed):
    w = np.random.default_rng(seed).normal(size=size)
    pattern = magnitude_pattern(w, density)
    assert len(pattern) == exact_count(density, size) == int(np.floor(density * size + 0.5))
    dead = np.setdiff1d(np.arange(size), pattern)
    if len(pattern) and len(dead):
        assert np.abs(w[pattern]).min() >= np.abs(w[dead]).max()


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 80), data=st.data())
def test_growth_adds_the_count_of_dead_positions_and_keeps_the_living(size, data):
    seed = data.draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    pattern = np.sort(rng.permutation(size)[: data.draw(st.integers(0, size))]).astype(np.int32)
    count = data.draw(st.integers(0, size))
    grown = grow_at_random(pattern, size, count, np.random.default_rng(seed))
    assert grown.dtype == np.int32
    assert len(grown) == min(size, len(pattern) + count)
    assert np.all(np.diff(grown) > 0) and (len(grown) == 0 or (grown[0] >= 0 and grown[-1] < size))
    assert np.isin(pattern, grown).all()
    assert np.array_equal(grown, grow_at_random(pattern, size, count, np.random.default_rng(seed)))


def test_growth_reaches_every_dead_position_alike():
    hits = np.zeros(10)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        hits[grow_at_random(np.array([2, 3, 7], np.int32), 10, 2, rng)] += 1
    assert np.all(hits[[2, 3, 7]] == 3000)
    assert np.all(np.abs(np.delete(hits, [2, 3, 7]) - 3000 * 2 / 7) < 100)  # 4 standard deviations
