"""States kept at the ends of tasks: places from which a learner can be trained anew without a subject."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import EdgeclError
from ..storage.whole import overwrite


class KeptStates:
    """At most ``most`` of them, the newest, in the folder of the saved states.

    tasks : whose ends they are; it goes with the saved state. Files of tasks not in ``tasks`` were left by a process
        that crashed before saving; they are ignored.
    """

    def __init__(self, folder: Path | None, most: int) -> None:
        self.folder, self.most = folder, most
        self.tasks: list[int] = []

    def add(self, task: int, state: Mapping[str, Any]) -> None:
        """Write the state at the end of ``task``."""
        assert self.folder is not None
        checkpoint.write(kept_file(self.folder, task), state)
        self.tasks.append(task)
        for old in self.tasks[: -self.most]:
            kept_file(self.folder, old).unlink(missing_ok=True)
        self.tasks = self.tasks[-self.most :]

    def newest_first(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(task, state) of those that can be read."""
        for task in reversed(self.tasks):
            assert self.folder is not None
            try:
                yield task, checkpoint.read(kept_file(self.folder, task))
            except EdgeclError:
                continue

    def forget(self, subject: int) -> list[str]:
        """Overwrite and remove those that were written after a sample of ``subject``: no training may start from
        them again. Their files.
        """
        if self.folder is None:
            return []
        gone = []
        for path in sorted(self.folder.glob("kept-*")):  # half-written ones too
            state = checkpoint.read_sound(path)  # None: damaged, whatever is in it goes
            with contextlib.suppress(KeyError, TypeError):
                if state is not None and subject not in state["learner"]["calls"]["subjects"]:
                    continue
            overwrite(path)
            gone.append(str(path))
        self.tasks = [t for t in self.tasks if kept_file(self.folder, t).exists()]
        return gone


def kept_file(folder: Path, task: int) -> Path:
    return folder / f"kept-{task:06d}.safetensors"
