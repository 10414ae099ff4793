"""WAV files of 8, 16, 24 or 32 bits or float, and sound at another rate. Standard library and numpy only."""

from __future__ import annotations

import struct
from math import gcd
from pathlib import Path

import numpy as np

from .decode import Unreadable

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
STREAMED = (0, 0xFFFFFFFF)  # sizes that recorders leave when they could not go back to the header
HALF_TAPS = 16  # of the resampling filter, in periods of the lower rate


def read_wav(file: Path) -> tuple[np.ndarray, int]:
    """(float32 [T, channels], Hz) of a WAV file of 8, 16, 24 or 32 bits or float. Raises `Unreadable`."""
    data = file.read_bytes()
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise Unreadable("damaged, or no WAV")
    form, place = None, 12
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        place += 8
        if name == b"fmt " and place + 16 <= len(data):
            form = _format(data[place : place + size])
        elif name == b"data":
            if form is None:
                raise Unreadable("damaged: samples before their format")
            if size in STREAMED:
                size = len(data) - place
            if place + size > len(data):
                raise Unreadable("cut short")
            return _samples(data[place : place + size], *form[:3]), form[3]
        place += size + size % 2
    raise Unreadable("cut short")


def _format(chunk: bytes) -> tuple[int, int, int, int]:
    """(kind, channels, bits, Hz) of a fmt chunk."""
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) >= 26:
        kind = struct.unpack_from("<H", chunk, 24)[0]
    if kind not in (PCM, FLOAT):
        raise Unreadable(f"compressed WAV (format {kind})")
    if not 1 <= channels <= 64 or not 100 <= rate <= 1_000_000:
        raise Unreadable("damaged: impossible channels or rate")
    if block and channels and block % channels == 0:
        bits = 8 * block // channels  # 20 bits lie in three bytes
    return kind, channels, bits, rate


def _samples(data: bytes, kind: int, channels: int, bits: int) -> np.ndarray:
    """float32 [T, channels] of the bytes of a data chunk."""
    values: np.ndarray
    if kind == FLOAT and bits in (32, 64):
        values = np.frombuffer(data[: len(data) // (bits // 8) * (bits // 8)], f"<f{bits // 8}").astype(np.float32)
    elif kind == PCM and bits == 8:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    elif kind == PCM and bits in (16, 32):
        width = bits // 8
        whole = np.frombuffer(data[: len(data) // width * width], f"<i{width}")
        values = whole.astype(np.float32) / np.float32(2 ** (bits - 1))
    elif kind == PCM and bits == 24:
        three = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        four = np.zeros((len(three), 4), np.uint8)
        four[:, 1:] = three
        values = four.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    else:
        raise Unreadable(f"{bits}-bit {'float' if kind == FLOAT else 'samples'}")
    if values.size < channels:
        raise Unreadable("empty")
    return values[: values.size // channels * channels].reshape(-1, channels)


def resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """float32 [T * wanted / rate]: by a windowed sinc that cuts off below half of the lower rate."""
    if rate == wanted or not sound.size:
        return sound
    common = gcd(rate, wanted)
    up, down = wanted // common, rate // common
    cutoff = 0.92 * min(1.0, wanted / rate)  # in units of half of the old rate
    reach = int(np.ceil(HALF_TAPS / cutoff))
    count = -(-sound.size * up // down)
    padded = np.pad(sound, reach + 1)
    out = np.empty(count, np.float32)
    offsets = np.arange(-reach, reach + 1)
    for start in range(0, count, 1 << 14):
        at = np.arange(start, min(start + (1 << 14), count)) * down / up
        near = np.floor(at).astype(int)
        t = offsets[None] - (at - near)[:, None]
        taps = cutoff * np.sinc(cutoff * t) * (0.5 + 0.5 * np.cos(np.pi * np.clip(t / (reach + 1), -1, 1)))
        out[start : start + at.size] = (padded[near[:, None] + offsets + reach + 1] * taps).sum(axis=1)
    return out
