"""Reserve: room on the disk that is given up so that a last state can be saved."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from ..storage.errors import StoreFull

LEAST = 64 << 10


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, is a full disk."""
    while error is not None:
        if isinstance(error, StoreFull) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class Reserve:
    """A file of so many bytes; gone while the disk is full, there again when it has room for twice as much.

    size : bytes, or None: of the newest saved state
    """

    def __init__(self, folder: Path, saved: Path, size: int | None) -> None:
        self._folder, self._saved, self._size = folder, saved, size
        self._path = folder / "reserve"

    @property
    def held(self) -> bool:
        return self._path.exists()

    def wanted(self) -> int:
        if self._size is not None:
            return self._size
        sizes = [p.stat().st_size for p in self._saved.glob("checkpoint-*.safetensors")]
        return max([LEAST, *sizes])

    def keep(self) -> bool:
        """Take the room where there is twice as much. Whether it is held."""
        try:
            size = self.wanted()
            if self.held and self._path.stat().st_size >= size:
                return True
            if shutil.disk_usage(self._folder).free < 2 * size:
                return self.held
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
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
