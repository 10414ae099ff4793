"""Sound: a microphone through ALSA's own recorder, or a WAV file played as one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data.readers.decode import Unreadable
from ..data.readers.wav import read_wav, resampled
from ..errors import BadInput, EdgeclError
from .base import Due, Frame, Taken
from .windows import Windows

BLOCK = 0.05  # seconds that are read at a time
FULL = 32767.0  # of int16 sound


class _Sound:
    """Blocks of one channel, float32 in -1..1, as windows of what the service takes."""

    def __init__(self, taken: Taken, rate: int) -> None:
        taken.check_signals(1)
        self._windows, self._rate = Windows(taken), rate
        self._scale = FULL if taken.dtype == "int16" else 1.0

    def _blocks(self) -> Iterator[np.ndarray]:
        """float32 [n], as time goes by."""
        raise NotImplementedError

    def frames(self, due: Due) -> Iterator[Frame]:
        for block in self._blocks():
            self._windows.push(self._scale * block[:, None])
            if self._windows.ready and due():
                yield self._windows.frame()

    def close(self) -> None:
        pass


class Microphone(_Sound):
    """What `arecord` hears: ALSA's recorder, on every Raspberry Pi OS. device : as `arecord -L` names it, or None"""

    def __init__(self, taken: Taken, rate: int, device: str | None) -> None:
        super().__init__(taken, rate)
        program = shutil.which("arecord")
        if program is None:
            raise BadInput("There is no arecord to hear a microphone with.", "Do: apt install alsa-utils")
        command = [program, "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate)]
        command += ["-D", device] if device is not None else []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _blocks(self) -> Iterator[np.ndarray]:
        pipe, size = self._process.stdout, 2 * max(1, round(BLOCK * self._rate))
        assert pipe is not None
        while len(body := pipe.read(size)) == size:
            yield np.frombuffer(body, "<i2").astype(np.float32) / 32768
        said = self._process.communicate()[1].decode("utf-8", "replace").strip()
        raise EdgeclError(f"arecord ended: {said or 'it says nothing'}.", "See: arecord -L lists the microphones.")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Wav(_Sound):
    """A WAV file in its own time, again and again; ``once``: to its end."""

    def __init__(self, taken: Taken, rate: int, file: str, once: bool) -> None:
        super().__init__(taken, rate)
        if not os.path.isfile(file):
            raise BadInput(f"There is no file '{file}'.", "Give a WAV file.")
        try:
            sound, found = read_wav(Path(file))
        except (Unreadable, OSError) as error:
            raise BadInput(f"'{file}' cannot be read: {error}.", "Give a WAV file.") from error
        self._sound, self._once = resampled(sound.mean(axis=1), found, rate), once
        if not self._sound.size:
            raise BadInput(f"'{file}' holds no sound.", "Give a longer one.")

    def _blocks(self) -> Iterator[np.ndarray]:
        count, began, sent = max(1, round(BLOCK * self._rate)), time.monotonic(), 0
        while True:
            for at in range(0, len(self._sound), count):
                block = self._sound[at : at + count]
                yield block
                sent += len(block)
                time.sleep(max(0.0, began + sent / self._rate - time.monotonic()))
            if self._once:
                return
