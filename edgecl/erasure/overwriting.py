"""Saved states on disk without a subject: rewritten, the old bytes overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .. import checkpoint
from ..storage.whole import overwrite
from .sealing import without


def rewrite_saved(folders: Iterable[Path], subject: int) -> list[str]:
    """Rewrite the saved states in ``folders`` without a subject; the files that held something of it, or could not be
    read and were overwritten as they are.
    """
    folders = list(folders)
    files = [str(path) for folder in folders for path in checkpoint.sweep(folder)]
    for path in (p for folder in folders for p in checkpoint.generations(folder)):
        state = checkpoint.read_sound(path)
        if state is None:  # damaged: whatever is in it goes
            overwrite(path)
            files.append(str(path))
            continue
        if "learner" not in state:
            continue
        state, held = without(state, subject)
        if held:
            checkpoint.rewrite(path, state)
            files.append(str(path))
    return files
