"""Losses: values by hand, gradients against central differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.errors import BadInput
from edgecl.methods import cross_entropy, entropy, mse_logits


def numeric(loss, logits, h=1e-5):
    """Central differences in float64."""
    grad = np.zeros_like(logits)
    for i in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (loss(up) - loss(down)) / (2 * h)
    return grad


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 5), classes=st.integers(2, 6), masked=st.booleans())
def test_cross_entropy_gradient_matches_differences(seed, rows, classes, masked):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (rows, classes))
    mask = rng.random(classes) < 0.6 if masked else None
    allowed = np.arange(classes)
    if mask is not None:
        mask[0] = True
        allowed = np.flatnonzero(mask)
    y = rng.choice(allowed, rows)
    value, grad = cross_entropy(logits, y, mask)
    assert np.allclose(grad, numeric(lambda z: cross_entropy(z, y, mask)[0], logits), atol=1e-5)
    if mask is not None:
        assert np.all(grad[:, ~mask] == 0)
    assert value >= 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_soft_and_weighted_targets_are_differentiated(seed):
    rng = np.random.default_rng(seed)
    logits, soft, weight = rng.normal(size=(3, 4)), rng.random((3, 4)), rng.random(3)
    _, grad = cross_entropy(logits, soft, weight=weight, count=7)
    assert np.allclose(grad, numeric(lambda z: cross_entropy(z, soft, weight=weight, count=7)[0], logits), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 5))
def test_mse_gradient_matches_differences_at_every_width(seed, rows):
    rng = np.random.default_rng(seed)
    logits, stored = rng.normal(size=(rows, 6)), rng.normal(size=(rows, 5)).astype(np.float16)
    widths = rng.integers(0, 6, rows)
    _, grad = mse_logits(logits, stored, widths)
    assert np.allclose(grad, numeric(lambda z: mse_logits(z, stored, widths)[0], logits), atol=1e-6)
    assert np.all(grad[np.arange(6)[None, :] >= widths[:, None]] == 0)


def test_cross_entropy_by_hand():
    value, grad = cross_entropy(np.zeros((2, 4), np.float32), np.array([0, 3]))
    assert value == pytest.approx(np.log(4))
    assert np.allclose(grad[0], [-0.375, 0.125, 0.125, 0.125])
    assert grad.dtype == np.float32
    masked, _ = cross_entropy(np.zeros((2, 4), np.float32), np.array([0, 3]), np.array([True, False, False, True]))
    assert masked == pytest.approx(np.log(2))


def test_mse_averages_over_the_samples_own_width_then_over_samples_that_have_logits():
    logits = np.array([[1.0, 5.0, 9.0], [2.0, 0.0, 9.0], [7.0, 7.0, 7.0]], np.float32)
    stored = np.array([[0.0, 99.0], [0.0, 2.0], [5.0, 5.0]], np.float16)
    value, _ = mse_logits(logits, stored, np.array([1, 2, 0]))
    assert value == pytest.approx((1.0 + (4 + 4) / 2) / 2)  # the third sample stored nothing


def test_mse_of_samples_without_logits_is_zero():
    value, grad = mse_logits(np.ones((2, 3), np.float32), np.zeros((2, 0), np.float16), np.zeros(2, int))
    assert value == 0 and not grad.any()


def test_parts_of_a_batch_add_up_to_the_batch():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(7, 3)).astype(np.float32), rng.integers(0, 3, 7)
    value, grad = cross_entropy(logits, y)
    a, ga = cross_entropy(logits[:3], y[:3], count=7)
    b, gb = cross_entropy(logits[3:], y[3:], count=7)
    assert a + b == pytest.approx(value)
    assert np.allclose(np.concatenate([ga, gb]), grad)


def test_huge_logits_do_not_overflow():
    value, grad = cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert value == pytest.approx(2e4)
    assert np.allclose(grad, [[1, -1]])


def test_a_target_outside_mask_or_head_is_refused():
    logits = np.zeros((1, 3), np.float32)
    with pytest.raises(BadInput, match="outside the units"):
        cross_entropy(logits, np.array([2]), np.array([True, True, False]))
    with pytest.raises(BadInput, match="head of 3"):
        cross_entropy(logits, np.array([3]))
    with pytest.raises(BadInput, match="width 4"):
        mse_logits(logits, np.zeros((1, 4), np.float16), np.array([4]))


def test_entropy_is_log_of_equal_choices_and_ignores_masked_units():
    logits = np.array([[0.0, 0.0, -np.inf], [50.0, 0.0, 0.0]])
    assert np.allclose(entropy(logits), [np.log(2), 0.0], atol=1e-12)
