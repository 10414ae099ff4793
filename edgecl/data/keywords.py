"""keywords: thirty spoken words, SYNTHETIC: flite's four 16 kHz voices in sixteen prosodies, with noise.

Rendered when the set is fetched, never shipped. Real recordings in folders of WAV files by word can take its place:
``edgecl data get keywords --from FOLDER`` reads FOLDER/WORD/SPEAKER-NUMBER.wav.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import BadInput
from . import audio, fetch
from .cache import DatasetWriter
from .datasets import DatasetSpec, register

WORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow",
)  # fmt: skip
# mean pitch in Hz, as each voice was recorded
VOICES = {"kal16": 105, "awb": 120, "rms": 100, "slt": 170}
STRETCHES = (0.8, 0.95, 1.1, 1.25)  # of the length
PITCHES = (0.8, 0.93, 1.08, 1.25)  # of the mean pitch
TEST_NUMBERS = (3, 6, 9, 12)  # the diagonal: each length and each pitch is known, their pairing is not
TAKES = 4  # placements and noises of one rendering

# sha256 of the Debian 12 packages, by machine
PACKAGES = {
    "x86_64": {
        "flite": "f4ce03470bf9974c2cb9cacd981e6be29339ef4c97cf994dd6fa3f90e6544db9",
        "libflite1": "bfa8c591f1b47730b30b372ec38e02918a1c9795eada67684e1746390ad2f061",
    },
    "aarch64": {
        "flite": "f5114e5cb90bc1f9705b1810eb0c9865ead13ad727feaa3df47d167b68cd11f3",
        "libflite1": "a32d8cfe4eda5e98dc4332ffb2520d3fb65565265bb869eb101f6b8b21f0115d",
    },
}
HINT = "put WORD/SPEAKER-NUMBER.wav files into a folder and run 'edgecl data get keywords --from FOLDER'."


def _obtain(work: Path) -> Path:
    return rendered(work, WORDS)


def rendered(work: Path, words: Sequence[str]) -> Path:
    """A folder WORD/VOICE-NUMBER.wav of ``words`` in every voice and prosody."""
    machine = os.uname().machine
    known = PACKAGES.get(machine)
    if known is None:
        raise fetch.FetchError(f"flite's packages are not known for {machine}.", HINT)
    for package, sha256 in known.items():
        tree = fetch.debian_package(package, sha256, work, HINT)
    libraries = next((tree / "usr/lib").glob("*-linux-gnu"))
    sounds = work / "sounds"
    for word in words:
        (sounds / word).mkdir(parents=True)
        for voice, pitch in VOICES.items():
            for number in range(len(STRETCHES) * len(PITCHES)):
                stretch, relative = STRETCHES[number // len(PITCHES)], PITCHES[number % len(PITCHES)]
                target = sounds / word / f"{voice}-{number:02d}.wav"
                _say(tree / "usr/bin/flite", libraries, word, voice, stretch, pitch * relative, target)
    return sounds


def _say(flite: Path, libraries: Path, word: str, voice: str, stretch: float, pitch: float, target: Path) -> None:
    """One word to a WAV file. stretch: of the length; pitch in Hz."""
    done = subprocess.run(
        [
            str(flite), "-voice", voice, "--setf", f"duration_stretch={stretch:g}",
            "--setf", f"int_f0_target_mean={pitch:g}", "-t", word, "-o", str(target),
        ],
        env={"LD_LIBRARY_PATH": str(libraries), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    if done.returncode or not target.exists():
        message = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        remedy = "Install it: 'sudo apt-get install libasound2'." if "libasound" in message else HINT
        raise fetch.FetchError(f"flite could not speak: {message}", remedy)


def _convert(folder: Path, out: Path) -> None:
    from .readers.decode import Unreadable  # here: only the converting child pays for them
    from .readers.sounds import read_sound

    words = [w for w in WORDS if (folder / w).is_dir()] or sorted(f.name for f in folder.iterdir() if f.is_dir())
    if len(words) < 2:
        raise BadInput(f"{folder} has no folders of words.", f"To use your own: {HINT}")
    rng = np.random.default_rng(0)  # noise and placement are part of the data set: one fixed draw
    writer = DatasetWriter(out, (audio.COEFFICIENTS, 1, audio.FRAMES), "float32")
    units: list[int] = []
    test: list[bool] = []
    speakers: list[str] = []
    for unit, word in enumerate(words):
        for file in sorted((folder / word).glob("*.wav")):
            name = re.fullmatch(r"(.+)-(\d+)", file.stem)
            if name is None:
                raise BadInput(f"{file.name} is not named SPEAKER-NUMBER.wav.", "Name it so, such as anna-03.wav.")
            try:
                sound = _trim(read_sound(file))
            except Unreadable as error:
                raise BadInput(f"{file} cannot be read: {error.reason}.", "Give WAV files.") from error
            for _ in range(TAKES):
                writer.append(audio.mfcc(take(sound, rng)))
                units.append(unit)
                test.append(int(name[2]) in TEST_NUMBERS)
                speakers.append(name[1])
    who = {s: i for i, s in enumerate(sorted(set(speakers)))}
    writer.finish(
        tuple(words), np.array(units), np.array(test), np.array([who[s] for s in speakers]),
        source="synthetic speech, flite 2.2" if set(who) == set(VOICES) else "recordings by the user",
        synthetic=set(who) == set(VOICES), speakers=list(who),
    )  # fmt: skip


def _trim(sound: np.ndarray) -> np.ndarray:
    """Without the silence (below 2 % of the peak) before and after."""
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max(initial=0))
    return sound[loud[0] : loud[-1] + 1] if loud.size else sound


def take(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 [16000]: ``sound`` somewhere in one second, at -6 to 0 dB, in pink noise 0 to 20 dB below it."""
    room = max(audio.SECOND - sound.size, 0)
    placed = audio.one_second(sound, int(rng.integers(0, room + 1)))
    spectrum = rng.standard_normal(audio.SECOND // 2 + 1) + 1j * rng.standard_normal(audio.SECOND // 2 + 1)
    spectrum /= np.sqrt(np.arange(audio.SECOND // 2 + 1) + 1)  # power falls as 1 / f
    noise = np.fft.irfft(spectrum, audio.SECOND)
    loudness = np.sqrt(np.mean(np.square(sound))) if sound.size else 0.0
    noise *= loudness / max(float(np.sqrt(np.mean(noise**2))), 1e-12) * 10 ** (-rng.uniform(0, 20) / 20)
    return ((placed + noise) * 10 ** (-rng.uniform(0, 6) / 20)).astype(np.float32)


register(
    DatasetSpec(
        "keywords",
        "rendered with flite (BSD-like, see its copyright file); never redistributed",
        "SYNTHETIC speech: flite 2.2 (Debian 12)",
        13_076_560,
        _obtain,
        _convert,
    )
)
