"""Augmentations: seeded, same shape and dtype, and doing what their name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.data import AUGMENTATIONS, get_augmentation
from edgecl.data.augment import crop_padding
from edgecl.errors import BadInput


def batch(kind, seed=0, n=6):
    rng = np.random.default_rng(seed)
    if kind == "image":
        return rng.integers(0, 256, (n, 3, 28, 28)).astype(np.uint8)
    return rng.standard_normal((n, 6, 1, 128)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(AUGMENTATIONS)), st.integers(0, 1000))
def test_the_seed_decides_and_the_input_is_left_alone(name, seed):
    kind = "signal" if AUGMENTATIONS[name][0] == "signal" else "image"
    x = batch(kind, seed, n=64)
    before = x.copy()
    augment = get_augmentation(name, kind, x.shape[1:])
    a, b = (augment(x, np.random.default_rng(seed)) for _ in range(2))
    assert a.dtype == x.dtype and a.shape == x.shape and np.array_equal(a, b)
    assert np.array_equal(x, before) and not np.shares_memory(a, x)
    assert name == "none" or not np.array_equal(a, augment(x, np.random.default_rng(seed + 1)))


def test_none_changes_nothing():
    x = batch("image")
    assert np.array_equal(get_augmentation("none", "image", x.shape[1:])(x, np.random.default_rng(0)), x)


@pytest.mark.parametrize("shape, pad", [((3, 32, 32), 4), ((1, 28, 28), 2), ((1, 8, 8), 1), ((3, 64, 64), 8)])
def test_the_crop_pads_by_a_fitting_margin(shape, pad):
    assert crop_padding(shape) == pad


def test_a_crop_is_a_shift_with_zeros_at_the_border_and_reaches_every_offset():
    x = np.zeros((400, 1, 28, 28), np.uint8)
    x[:, 0, 14, 14] = 9
    out = get_augmentation("crop", "image", (1, 28, 28))(x, np.random.default_rng(0))
    found = {(int(a) - 14, int(b) - 14) for _, a, b in np.argwhere(out[:, 0] == 9)}
    assert found == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    assert out.sum() == 400 * 9


def test_a_flip_mirrors_about_half_of_the_samples():
    x = batch("image", n=200)
    out = get_augmentation("flip", "image", x.shape[1:])(x, np.random.default_rng(0))
    flipped = np.array([np.array_equal(o, s[:, :, ::-1]) for o, s in zip(out, x)])
    same = np.array([np.array_equal(o, s) for o, s in zip(out, x)])
    assert (flipped ^ same).all() and 70 < flipped.sum() < 130


def test_scaling_multiplies_each_channel_of_each_sample_by_one_factor():
    x = batch("signal")
    ratio = get_augmentation("scaling", "signal", x.shape[1:])(x, np.random.default_rng(0)) / x
    assert np.allclose(ratio, ratio[..., :1], rtol=1e-4)
    assert len(np.unique(ratio[..., 0].round(5))) == 36


def test_jitter_is_small_against_the_signal():
    x = batch("signal")
    noise = get_augmentation("jitter", "signal", x.shape[1:])(x, np.random.default_rng(0)) - x
    assert 0.03 < noise.std() / x.std() < 0.07


def test_an_augmentation_of_the_other_kind_or_an_unknown_one_is_refused():
    with pytest.raises(BadInput, match="signals"):
        get_augmentation("flip", "signal", (6, 1, 128))
    with pytest.raises(BadInput, match="Unknown augmentation 'flop'"):
        get_augmentation("flop", "image", (1, 28, 28))
