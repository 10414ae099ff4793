"""Window: inertial signals of any rate as windows of one length at 50 Hz, those of the `hapt` streams."""

from __future__ import annotations

import numpy as np

from ..data import inertial
from ..errors import BadInput
from ..options import option
from ..parsing import choice, count, real
from .base import Front

Array = np.ndarray
CROSSINGS = 8  # zeros of the filter's sinc on either side
LEAST_SPREAD = 1e-6  # a channel that stands still is only centred
RAW = ("float32", "int16", "uint8")


class Window(Front):
    """Signals [C, 1, T] at ``rate`` Hz to the float32 [C, 1, length] in their middle at 50 Hz.

    At another rate, or with a ``cutoff``, they are filtered: windowed-sinc low-pass and resampling in one product, a
    matrix [T, length] whose columns sum to 1. At 50 Hz without cutoff the values stay as they are.
    """

    name = "window"

    rate: float = option(float(inertial.RATE), real(0.0, True), "values a second of the raw signals")
    length: int = option(inertial.WINDOW, count(2), "values of a window, at 50 Hz")
    cutoff: float | None = option(None, real(0.0, True), "leave out frequencies above so many Hz")
    normalise: str = option(
        "none", choice(("none", "mean", "standard")), "less each channel's mean in the window; then over its std"
    )

    def prepare(self, shape: tuple[int, ...], dtype: str) -> None:
        if len(shape) != 3 or shape[1] != 1 or shape[0] < 1 or dtype not in RAW:
            raise BadInput(
                f"The front 'window' takes signals, not {dtype} samples of shape {shape}.",
                f"Give {', '.join(RAW)} of shape (C, 1, T).",
            )
        channels, values = shape[0], shape[2]
        needed = int(np.ceil((self.length - 1) * self.rate / inertial.RATE - 1e-9)) + 1
        if values < needed:
            raise BadInput(
                f"{values} values at {self.rate:g} Hz do not hold a window of {self.length} at {inertial.RATE} Hz.",
                f"Give raw signals of at least {needed} values, or a smaller length.",
            )
        self.shape = (channels, 1, self.length)
        plain = self.rate == inertial.RATE and self.cutoff is None
        self._weights = None if plain else _low_pass(values, self.length, self.rate, self.cutoff)
        product = 0 if plain else 2 * channels * values * self.length
        self.flops = product + {"none": 0, "mean": 2, "standard": 5}[self.normalise] * channels * self.length
        held = 0 if self._weights is None else self._weights.nbytes
        converted = 4 * channels * values if not plain and dtype != "float32" else 0
        self.bytes = held + converted + 3 * 4 * channels * self.length

    def __call__(self, x: Array) -> Array:
        out = np.empty((len(x), *self.shape), np.float32)
        for row, signals in zip(out, x[:, :, 0]):  # one by one: a matrix product's bits may depend on its rows
            if self._weights is None:
                row[:] = inertial.window(signals, (signals.shape[1] - self.length) // 2, self.length)
            else:
                np.matmul(signals.astype(np.float32, copy=False), self._weights, out=row[:, 0])
            if self.normalise != "none":
                row -= row.mean(axis=2, keepdims=True)
            if self.normalise == "standard":
                row /= np.maximum(row.std(axis=2, keepdims=True), LEAST_SPREAD)
        return out


def _low_pass(values: int, length: int, rate: float, cutoff: float | None) -> Array:
    """float32 [values, length]: a column filters and takes one value of the window in the middle of the signal.

    sinc(2 f u) under a Hann window over `CROSSINGS` zeros, u in raw values, f the cutoff in cycles a value: that of the
    slower of the two rates where it is lower.
    """
    highest = min(rate, inertial.RATE) / 2
    f = min(highest if cutoff is None else cutoff, highest) / rate
    reach, u = CROSSINGS / (2 * f), np.arange(values)
    weights = np.empty((values, length), np.float32)
    for j in range(length):
        away = u - ((values - 1) / 2 + (j - (length - 1) / 2) * rate / inertial.RATE)
        column = np.sinc(2 * f * away) * np.where(np.abs(away) < reach, 1 + np.cos(np.pi * away / reach), 0)
        weights[:, j] = column / column.sum()
    return weights
