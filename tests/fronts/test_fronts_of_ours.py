"""log-mel and window fronts: the contract, what they compute, what they refuse."""

import numpy as np
import pytest

from edgecl.data import audio, inertial
from edgecl.errors import BadInput
from edgecl.fronts import ROWS, LogMel, Window
from edgecl.intake.front import FrontInUse
from edgecl.intake.spec import sample_spec
from edgecl.testing import check_front

SECOND = (1, 1, 16000)


@pytest.mark.parametrize(
    ("make", "shape", "dtype"),
    [
        (LogMel, SECOND, "float32"),
        (lambda: LogMel(coefficients=0, bands=20, highest=8000), (1, 1, 9000), "int16"),
        (Window, (6, 1, 128), "float32"),
        (lambda: Window(rate=104.0, length=64, cutoff=20.0, normalise="standard"), (3, 1, 400), "int16"),
    ],
)
def test_our_fronts_keep_the_contract(make, shape, dtype):
    check_front(make, shape, dtype)


def test_16_bit_sound_is_the_same_sound():
    whole = np.random.default_rng(0).integers(-20000, 20000, (2, *SECOND), np.int16)
    a = LogMel().placed(SECOND, "int16")(whole)
    b = LogMel().placed(SECOND, "float32")(whole.astype(np.float32) / 32768)
    np.testing.assert_array_equal(a, b)
    with pytest.raises(BadInput, match="int16"):
        LogMel().placed(SECOND, "float32")(whole.astype(np.float32))


def test_without_a_cosine_transform_there_are_the_bands_it_would_be_of():
    x = np.random.default_rng(1).uniform(-1, 1, (1, *SECOND)).astype(np.float32)
    bands = LogMel(coefficients=0).placed(SECOND, "float32")(x)[0, :, 0]
    cepstra = LogMel(coefficients=7).placed(SECOND, "float32")(x)[0, :, 0]
    assert bands.shape == (40, 49)
    np.testing.assert_allclose(audio._dct(7) @ bands, cepstra, rtol=1e-4, atol=1e-4)


def test_windows_at_50_hz_are_those_of_the_hapt_streams_bit_for_bit():
    signals = np.random.default_rng(0).normal(size=(6, 300)).astype(np.float32)
    theirs = [w for _, w in inertial.windows(signals, np.full(300, 2))]
    front = Window().placed((6, 1, inertial.WINDOW), "float32")
    for k, window in enumerate(theirs):
        raw = signals[:, None, k * inertial.HOP : k * inertial.HOP + inertial.WINDOW]
        np.testing.assert_array_equal(front(raw[None])[0], window)


@pytest.mark.parametrize(("rate", "values"), [(100.0, 300), (25.0, 80), (52.0, 160)])
def test_a_window_of_another_rate_keeps_what_is_slow_and_loses_what_is_fast(rate, values):
    front = Window(rate=rate).placed((1, 1, values), "float32")
    raw, ours = np.arange(values) - (values - 1) / 2, np.arange(128) - 127 / 2
    for hz in (0.0, 1.0, 5.0):
        x = np.cos(2 * np.pi * hz * raw / rate)[None, None, None].astype(np.float32)
        wanted = np.cos(2 * np.pi * hz * ours / 50)
        assert np.abs(front(x)[0, 0, 0] - wanted)[16:-16].max() < 0.01
    if rate > 60:
        fast = np.cos(2 * np.pi * 40 * raw / rate)[None, None, None].astype(np.float32)
        assert np.abs(front(fast))[..., 16:-16].max() < 0.01


def test_normalised_windows_have_no_mean_and_unit_spread_and_a_still_channel_is_zero():
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 1, 128)).astype(np.float32)
    x[:, 1] = 7
    got = Window(normalise="standard").placed((3, 1, 128), "float32")(x)
    np.testing.assert_allclose(got[:, [0, 2]].mean(axis=3), 0, atol=1e-5)
    np.testing.assert_allclose(got[:, [0, 2]].std(axis=3), 1, atol=1e-5)
    assert not got[:, 1].any()


@pytest.mark.parametrize(
    ("front", "shape", "dtype", "words"),
    [
        (LogMel(), (2, 1, 16000), "float32", "one channel"),
        (LogMel(), (10, 1, 49), "float32", "takes sound"),
        (LogMel(), SECOND, "uint8", "takes sound"),
        (LogMel(coefficients=41), SECOND, "float32", "coefficients"),
        (LogMel(lowest=5000), SECOND, "float32", "in order"),
        (Window(), (3, 8, 8), "float32", "takes signals"),
        (Window(), (3, 1, 100), "float32", "at least 128"),
        (Window(rate=100.0), (3, 1, 254), "float32", "at least 255"),
    ],
)
def test_what_a_front_does_not_take_is_refused_when_it_is_placed(front, shape, dtype, words):
    with pytest.raises(BadInput, match=words):
        front.placed(shape, dtype)


def test_a_front_is_given_few_samples_at_a_time_and_what_it_returns_is_checked():
    class Noted(Window):
        sizes: list = []  # noqa: RUF012

        def __call__(self, x):
            self.sizes.append(len(x))
            return super().__call__(x)

    spec = sample_spec((2, 1, 128), "float32", None, None)
    use = FrontInUse(Noted(), spec)
    x = np.random.default_rng(0).normal(size=(2 * ROWS + 3, 2, 1, 128)).astype(np.float32)
    np.testing.assert_array_equal(use(x), x)
    assert Noted.sizes[1:] == [ROWS, ROWS, 3]

    class Lies(Window):
        def __call__(self, x):
            return super().__call__(x).astype(np.float64)

    class Breaks(Window):
        def __call__(self, x):
            return np.where(x > 0, np.float32(np.inf), x)

    with pytest.raises(Exception, match=r"gave float64.*declares float32"):
        FrontInUse(Lies(), spec)
    with pytest.raises(BadInput, match="Sample 1 holds NaN or infinity"):
        FrontInUse(Breaks(), spec)(np.stack([np.zeros((2, 1, 128)), np.ones((2, 1, 128))]).astype(np.float32))
