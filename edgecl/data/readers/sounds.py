"""Folders of recordings: WAV of any depth and rate, FLAC, through the front end of `audio` to cepstral windows."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import numpy as np

from ...errors import require
from .. import audio, windows
from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..naming import subject_in
from ..options import Reading, in_steps
from .decode import Unreadable
from .pictures import add_origin, settle_origins
from .walk import Entry

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
STREAMED = (0, 0xFFFFFFFF)  # sizes that recorders leave when they could not go back to the header
QUIET = 0.02  # of the peak: what a sound may lose before and after
HALF_TAPS = 16  # of the resampling filter, in periods of the lower rate


def read_sound(file: Path) -> np.ndarray:
    """float32 [T] in -1..1 at 16 kHz, all channels averaged. Raises `Unreadable`."""
    if file.stat().st_size == 0:
        raise Unreadable("empty")
    if file.suffix.lower() in (".wav", ".wave", ""):
        sound, rate = read_wav(file)
    else:
        try:
            module = require("soundfile", "sound")
        except ImportError:
            raise Unreadable(f"no decoder for {file.suffix.lower()}: pip install 'edgecl[sound]'") from None
        try:
            sound, rate = module.read(str(file), dtype="float32", always_2d=True)
        except Exception:  # a foreign decoder's faults are the file's
            raise Unreadable("damaged") from None
    if not np.isfinite(sound).all():
        raise Unreadable("holds NaN or infinity")
    return resampled(sound.mean(axis=1, dtype=np.float32), rate, audio.RATE)


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
    if kind == FLOAT and bits in (32, 64):
        values = np.frombuffer(data[: len(data) // (bits // 8) * (bits // 8)], f"<f{bits // 8}").astype(np.float32)
    elif kind == PCM and bits == 8:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif kind == PCM and bits in (16, 32):
        width = bits // 8
        values = np.frombuffer(data[: len(data) // width * width], f"<i{width}").astype(np.float32) / 2 ** (bits - 1)
    elif kind == PCM and bits == 24:
        three = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        four = np.zeros((len(three), 4), np.uint8)
        four[:, 1:] = three
        values = four.view("<i4")[:, 0].astype(np.float32) / 2**31
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


def convert_sounds(entries: Sequence[Entry], target: Path, reading: Reading, gate: Gate) -> None:
    """Write the plain form: a window of cepstral coefficients for each short file, several for a longer one."""
    gate.kind = "sounds"
    gate.forms.add("sounds")
    length = audio.SECOND if reading.window in (None, "whole") else in_steps(reading.window, audio.RATE, "window")
    if length < audio.WINDOW:
        raise gate.refuse(f"A window of {reading.window} is shorter than 40 ms.", "Give a longer one, such as 1s.")
    hop = windows.choose_hop(reading.hop, length, audio.RATE)
    frames = (length - audio.WINDOW) // audio.HOP + 1
    speakers = _speakers(entries)
    origins, several, silent = Origins(), 0, 0
    with new_folder(target) as out:
        writer = DatasetWriter(out, (audio.COEFFICIENTS, 1, frames), "float32", gate)
        for place, entry in enumerate(entries):
            try:
                sound = read_sound(entry.file)
            except Unreadable as error:
                gate.broken(entry.file, error.reason, entry.label)
                continue
            silent += not sound.any()
            pieces = cut_sound(sound, length, hop)
            several += len(pieces) > 1
            for piece in pieces:
                writer.append(audio.mfcc(piece)[None])
                add_origin(origins, entry, file=str(entry.file.relative_to(gate.place)))
                if speakers is not None:
                    origins.subjects.append(speakers[place])
        gate.note(f"cepstral coefficients of {length / audio.RATE:g} s at 16 kHz")
        if several:
            gate.note(f"{several} longer files cut every {hop / audio.RATE:g} s")
        if speakers is not None:
            known = sorted(set(speakers))
            gate.note(f"{len(known)} speakers from the files' names: {', '.join(known[:6])}")
        if silent:
            gate.warn(f"{silent} of {len(entries)} files hold silence only.")
        settle_origins(origins)
        complete(writer, gate, origins, reading, str(gate.place))


def cut_sound(sound: np.ndarray, length: int, hop: int) -> list[np.ndarray]:
    """float32 [length] pieces: the sound amid silence where it is not longer, else a piece every ``hop``, the last at
    the end. A sound that is longer by silence only counts as short."""
    if sound.size > length:
        loud = np.flatnonzero(np.abs(sound) > QUIET * np.abs(sound).max())
        first, last = (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, length)
        if last - first <= length:
            start = min(max(0, (first + last - length) // 2), sound.size - length)
            return [sound[start : start + length]]
        starts = list(range(0, sound.size - length + 1, hop))
        if starts[-1] + length < sound.size:
            starts.append(sound.size - length)
        return [sound[start : start + length] for start in starts]
    out = np.zeros(length, np.float32)
    start = (length - sound.size) // 2
    out[start : start + sound.size] = sound
    return [out]


def _speakers(entries: Sequence[Entry]) -> list[str] | None:
    """The speaker of every file by names such as anna-03.wav or 0ab3_nohash_1.wav, if each speaks in two classes."""
    names = [re.fullmatch(r"(.+?)(?:_nohash)?[-_](\d+)", entry.file.stem) for entry in entries]
    if not all(names):
        subjects = [subject_in(entry.group or "") for entry in entries]
        return [str(s) for s in subjects] if all(subjects) and len(set(subjects)) > 1 else None
    speakers = [name[1] for name in names if name is not None]
    classes: dict[str, set[str]] = {}
    for speaker, entry in zip(speakers, entries):
        classes.setdefault(speaker, set()).add(entry.label)
    files = Counter(speakers)
    shared = sum(len(known) > 1 for known in classes.values())
    return speakers if len(files) > 1 and shared >= 0.9 * len(classes) else None
