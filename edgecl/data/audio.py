"""Speech as features: one second at 16 kHz to 10 cepstral coefficients in 49 frames, in numpy.

The front end of Zhang et al. 2017 ("Hello Edge", arXiv 1711.07128), also that of MLPerf Tiny's keyword task:
windows of 40 ms every 20 ms over one second, 40 mel bands from 20 Hz to 4 kHz, DCT-II, the first 10 coefficients.
"""

from __future__ import annotations

from functools import cache

import numpy as np

RATE = 16_000  # Hz
SECOND = RATE
WINDOW, HOP, FFT = 640, 320, 1024
FRAMES, COEFFICIENTS = 49, 10
BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 20.0, 4000.0


def one_second(sound: np.ndarray, offset: int) -> np.ndarray:
    """float32 [16000]: ``sound`` begins at ``offset`` samples, or loses its edges where it is longer than that."""
    if sound.size > SECOND:
        start = (sound.size - SECOND) // 2
        return sound[start : start + SECOND]
    out = np.zeros(SECOND, np.float32)
    offset = min(max(offset, 0), SECOND - sound.size)
    out[offset : offset + sound.size] = sound
    return out


def mfcc(sound: np.ndarray) -> np.ndarray:
    """float32 [10, 1, 49]: cepstral coefficients as channels over time, of one second ``sound`` [16000]."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT, axis=1)) ** 2
    bands = np.log(power @ _mel_filters().T + 1e-6)
    return (bands @ _dct().T).T[:, None, :].astype(np.float32)


@cache
def _mel_filters() -> np.ndarray:
    """[40, 513]: triangles equally spaced in mel (HTK: 2595 log10(1 + f / 700)), over the bins of the spectrum."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(np.minimum(rise, fall), 0)


@cache
def _dct() -> np.ndarray:
    """[10, 40]: orthonormal DCT-II."""
    k, n = np.arange(COEFFICIENTS)[:, None], np.arange(BANDS)
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * BANDS)) * np.sqrt(2 / BANDS)
    rows[0] /= np.sqrt(2)
    return rows
