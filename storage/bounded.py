"""The one reader of JSON and TOML: a regular file, of a size that was said beforehand, nested no deeper than one can
follow.

Raises `OSError` when a file cannot be read and `ValueError` for everything that is wrong with what it holds.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20


def read_bounded(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody writes to would wait for ever
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        parts, left = list[bytes](), most + 1
        if about.st_size > most:
            raise ValueError(f"it has {about.st_size} bytes, the limit is {most}")
        while left and (part := os.read(fd, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(fd)
    if not left:
        raise ValueError(f"it has more than {most} bytes")
    return b"".join(parts)


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: bytes | str) -> dict[str, Any]:
    """The table of a TOML text."""
    import tomllib

    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_file(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """The value in a JSON file."""
    return parse_json(read_bounded(path, most))


def read_table(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """What a ``.toml`` or a JSON file holds, by its name."""
    text = read_bounded(path, most)
    return parse_toml(text) if Path(path).suffix == ".toml" else parse_json(text)
