"""Folders of recordings: WAV of any depth and rate, FLAC, through the front end of `audio` to cepstral windows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import require
from .. import audio, windows
from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..options import Reading, in_steps
from .decode import Unreadable
from .origins import add_origin, settle_origins
from .walk import Entry
from .wav import read_wav, resampled

QUIET = 0.02  # of the peak: what a sound may lose before and after


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
                    origins.subjects[-1] = speakers[place]
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
    """float32 [length] pieces: what is loud in ``sound``, amid silence, where that is not longer; else a piece every
    ``hop``, the last at the end."""
    loud = np.flatnonzero(np.abs(sound) > QUIET * np.abs(sound).max(initial=0))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, min(sound.size, length))
    if last - first > length:
        starts = list(range(0, sound.size - length + 1, hop))
        if starts[-1] + length < sound.size:
            starts.append(sound.size - length)
        return [sound[start : start + length] for start in starts]
    out = np.zeros(length, np.float32)
    start = (first + last - length) // 2  # so that the loud part is in the middle
    begin, end = max(start, 0), min(start + length, sound.size)
    out[begin - start : end - start] = sound[begin:end]
    return [out]


def _speakers(entries: Sequence[Entry]) -> list[str] | None:
    """The speaker of every file by names such as anna-03.wav or 0ab3_nohash_1.wav, if each speaks in two classes."""
    names = [re.fullmatch(r"(.+?)(?:_nohash)?[-_](\d+)", entry.file.stem) for entry in entries]
    if not all(names) or any(entry.subject for entry in entries):
        return None
    speakers = [name[1] for name in names if name is not None]
    classes: dict[str, set[str]] = {}
    for speaker, entry in zip(speakers, entries):
        classes.setdefault(speaker, set()).add(entry.label)
    files = Counter(speakers)
    shared = sum(len(known) > 1 for known in classes.values())
    return speakers if len(files) > 1 and shared >= 0.9 * len(classes) else None
