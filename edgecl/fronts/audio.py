"""LogMel: speech at 16 kHz as cepstral coefficients or log-mel bands, those of the stream `keywords`."""

from __future__ import annotations

from math import log2

import numpy as np

from ..data import audio
from ..errors import BadInput
from ..options import option
from ..parsing import count, real
from .base import Front

Array = np.ndarray
BINS = audio.FFT // 2 + 1
LOUDEST = 8.0  # of float32 sound: more is no sum of a few sounds in -1..1, but whole numbers


class LogMel(Front):
    """Sound [1, 1, T] at 16 kHz, float32 in -1..1 or int16, to float32 [coefficients, 1, frames]: a second has 49.

    The front end of Zhang et al. 2017 (arXiv 1711.07128): windows of 40 ms every 20 ms, mel bands, logarithm, DCT-II.
    """

    name = "logmel"

    coefficients: int = option(audio.COEFFICIENTS, count(), "cepstral coefficients; 0: the log-mel bands themselves")
    bands: int = option(audio.BANDS, count(2, 128), "mel bands")
    lowest: float = option(audio.LOWEST_HZ, real(), "lowest frequency in Hz")
    highest: float = option(audio.HIGHEST_HZ, real(0.0, True), "highest frequency in Hz")

    def prepare(self, shape: tuple[int, ...], dtype: str) -> None:
        if len(shape) != 3 or shape[:2] != (1, 1) or shape[2] < audio.WINDOW or dtype not in ("float32", "int16"):
            raise BadInput(
                f"The front 'logmel' takes sound, not {dtype} samples of shape {shape}.",
                "Give float32 in -1..1 or int16 of shape (1, 1, T), one channel at 16 kHz: T is 16000 for a second.",
            )
        if self.coefficients > self.bands or not self.lowest < self.highest <= audio.RATE / 2:
            raise BadInput(
                f"logmel cannot make {self.coefficients} coefficients of {self.bands} bands from {self.lowest:g} to "
                f"{self.highest:g} Hz.",
                f"Give no more coefficients than bands, and frequencies in order, up to {audio.RATE // 2} Hz.",
            )
        frames = audio.frames(shape[2])
        self.shape = (self.coefficients or self.bands, 1, frames)
        spectrum = audio.WINDOW + 2.5 * audio.FFT * log2(audio.FFT) + 5 * BINS
        mel = (2 * BINS + 2) * self.bands + 2 * self.bands * self.coefficients
        self.flops = round(frames * (spectrum + mel))
        # filters and DCT; windows of one sound and their spectrum, which is when most is needed
        held = 8 * self.bands * (BINS + self.coefficients)
        converted = 8 * shape[2] if dtype == "int16" else 0
        self.bytes = held + converted + frames * (8 * audio.WINDOW + 16 * BINS)
        audio.make_tables(self.coefficients, self.bands, self.lowest, self.highest)

    def __call__(self, x: Array) -> Array:
        out = np.empty((len(x), *self.shape), np.float32)
        for row, sound in zip(out, x[:, 0, 0]):  # one by one: a matrix product's bits may depend on its rows
            if sound.dtype == np.int16:
                sound = sound.astype(np.float32) / 32768
            elif max(sound.max(), -sound.min()) > LOUDEST:
                raise BadInput(
                    f"Sound of values to {max(sound.max(), -sound.min()):.6g} is not in -1..1.",
                    "Divide 16-bit values by 32768, or give them as dtype int16.",
                )
            row[:] = audio.mfcc(sound, self.coefficients, self.bands, self.lowest, self.highest)
        return out
