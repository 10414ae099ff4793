"""Reserve: room on the disk that is given up so that a last state can be saved."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from ..storage.errors import StoreFull


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, is a full disk."""
    while error is not None:
        if isinstance(error, StoreFull) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class Reserve:
    """A file of so many bytes; gone while the disk is full, there again when it has room for twice as much."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self.size = folder, size
        self._path = folder / "reserve"

    @property
    def held(self) -> bool:
        return self._path.exists()

    def keep(self) -> bool:
        """Take the room where there is twice as much. Whether it is held."""
        try:
            if self.held and self._path.stat().st_size >= self.size:
                return True
            if shutil.disk_usage(self._folder).free < 2 * self.size:
                return self.held
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size)
            finally:
                os.close(fd)
            return True
        except OSError:
            self.give_up()
            return False

    def give_up(self) -> None:
        """The room is there for others."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
