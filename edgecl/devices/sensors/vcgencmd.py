"""vcgencmd: the Raspberry Pi firmware's answers."""

from __future__ import annotations

import shutil
import subprocess

from .base import SensorError

SECONDS = 5.0


def vcgencmd(*arguments: str) -> str:
    """The program's answer. Raises `SensorError` where it is missing, refuses or does not answer."""
    program = shutil.which("vcgencmd")
    if program is None:
        raise SensorError("'vcgencmd' is not on this machine.", "It comes with Raspberry Pi OS.")
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise SensorError(f"vcgencmd did not answer: {error}.", "Try it by hand: vcgencmd version.") from error
    answer = done.stdout.strip()
    if done.returncode or not answer or answer.startswith("error"):
        text = (done.stderr or answer or f"status {done.returncode}").strip().splitlines()[0]
        raise SensorError(f"vcgencmd {arguments[0]}: {text}", "Join the group: 'sudo usermod -aG video $USER'.")
    return answer
