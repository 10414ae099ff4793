"""Saved states on disk without a subject: rewritten, the old bytes overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .. import checkpoint
from ..errors import EdgeclError
from .sealing import without


def rewrite_saved(folders: Iterable[Path], subject: int) -> list[str]:
    """Rewrite the saved states in ``folders`` without a subject; the files that held something of it, or could not be
    read and were overwritten as they are.
    """
    files = []
    for path in (p for folder in folders for p in checkpoint.generations(folder)):
        finish_overwriting(path)
        try:
            state = checkpoint.read(path)
        except EdgeclError:  # damaged: whatever is in it goes
            overwrite(path)
            files.append(str(path))
            continue
        if "learner" not in state:
            continue
        state, held = without(state, subject)
        if held:
            replaced = _gone(path)
            os.link(path, replaced)
            checkpoint.write(path, state, generation=checkpoint._generation(path))
            overwrite(replaced)
            files.append(str(path))
    return files


def finish_overwriting(path: Path) -> None:
    """Overwrite what a crash in the middle of `rewrite_saved` left."""
    for left in (_gone(path), path.with_name(path.name + ".tmp")):
        if left.exists():
            if left.stat().st_nlink > 1:  # nothing was replaced yet
                left.unlink()
            else:
                overwrite(left)


def _gone(path: Path) -> Path:
    return path.with_name(path.name + ".gone")


def overwrite(path: Path) -> None:
    """Zeros over a file's bytes, flushed, before it is removed."""
    with open(path, "r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= file.write(bytes(min(1 << 20, left)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
