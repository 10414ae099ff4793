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


def mfcc(
    sound: np.ndarray,
    coefficients: int = COEFFICIENTS,
    bands: int = BANDS,
    lowest: float = LOWEST_HZ,
    highest: float = HIGHEST_HZ,
) -> np.ndarray:
    """float32 [coefficients, 1, frames]: cepstral coefficients as channels over time; a second has 49 frames.

    Parameters
    ----------
    sound : [T] at 16 kHz, T >= 640
    coefficients : of the DCT; 0: the logarithms of the bands' energies themselves, [bands, 1, frames]
    bands : triangular mel filters from ``lowest`` to ``highest`` Hz
    """
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), FFT, axis=1)) ** 2
    found = np.log(power @ _mel_filters(bands, lowest, highest).T + 1e-6)
    if coefficients:
        found = found @ _dct(coefficients, bands).T
    return found.T[:, None, :].astype(np.float32)


def frames(values: int) -> int:
    """Windows in a sound of so many values."""
    return max(0, (values - WINDOW) // HOP + 1)


def make_tables(coefficients: int, bands: int, lowest: float, highest: float) -> None:
    """Make what `mfcc` needs with these, once for all; it would do it at its first sound."""
    _mel_filters(bands, lowest, highest)
    if coefficients:
        _dct(coefficients, bands)


@cache
def _mel_filters(bands: int = BANDS, lowest: float = LOWEST_HZ, highest: float = HIGHEST_HZ) -> np.ndarray:
    """[bands, 513]: triangles equally spaced in mel (HTK: 2595 log10(1 + f / 700)), over the bins of the spectrum."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (lowest, highest))
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    np.minimum(rise, fall, out=rise)
    return np.maximum(rise, 0, out=rise)


@cache
def _dct(coefficients: int = COEFFICIENTS, bands: int = BANDS) -> np.ndarray:
    """[coefficients, bands]: orthonormal DCT-II."""
    k, n = np.arange(coefficients)[:, None], np.arange(bands)
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * bands)) * np.sqrt(2 / bands)
    rows[0] /= np.sqrt(2)
    return rows
