"""Places that a command will need, looked at before it begins to measure."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadInput
from ..folders import may_write


def existing_folder(path: str) -> Path:
    """The folder of ``--disk``. Raises `BadInput`."""
    if not Path(path).is_dir():
        raise BadInput(f"'{path}' is not a folder.", "Give --disk a folder you may write to.")
    return Path(path)


def writable_file(path: str) -> None:
    """The folder of a file that will be written is made. Raises `BadInput` or `OSError`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() or not may_write(target.parent):
        raise BadInput(f"'{path}' cannot be written.", "Name a file in a folder you may write to.")
