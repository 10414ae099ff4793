"""Files that are whole or absent: written under a name of their own, flushed, renamed, the directory flushed.

The name is random and made exclusively, so nothing that lies there, a link included, is written through; the mode holds
from the first byte on, whatever the umask. What a process that died left ends in `SUFFIX`; `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".tmp"
OWN, OWN_FOLDER = 0o600, 0o700  # modes of what nobody else has to read
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of a directory: some file systems have no such thing


def write_whole(path: Path, data: bytes, mode: int | None = OWN) -> None:
    """Replaces ``path``; on flash when it returns, and as it was when it raises `OSError`. mode: None is the umask's.
    
    """
    with temporary(path, mode) as (fd, name):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
        os.replace(name, path)
    sync_directory(path.parent)


@contextlib.contextmanager
def temporary(path: Path, mode: int | None = OWN) -> Iterator[tuple[int, str]]:
    """A new file beside ``path``, open for writing: its descriptor and name. Removed when the block fails."""
    name = f"{path}.{secrets.token_hex(6)}{SUFFIX}"  # no Path: it would enter the interpreter's table of names
    fd = create(name, mode)
    try:
        yield fd, name
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    finally:
        os.close(fd)


def create(path: str | Path, mode: int | None = OWN) -> int:
    """A new file of exactly that mode, open for reading and writing; `FileExistsError` when anything is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o666 if mode is None else mode)
    if mode is not None:
        with contextlib.suppress(OSError):  # the umask may have taken bits; a card without modes has none to set
            if os.fstat(fd).st_mode & 0o777 != mode:
                os.fchmod(fd, mode)
    return fd


def make_folder(path: Path) -> None:
    """Makes ``path`` for its owner alone; one that is there stays as it is. Parents get the umask's mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, OWN_FOLDER)
        os.chmod(path, OWN_FOLDER)


def sync_directory(path: Path) -> None:
    """Makes names created or removed in a directory permanent."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(fd)


def overwrite(path: Path) -> None:
    """Zeros over a file's bytes, flushed, before it is removed. How much of the medium that reaches is its business."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _zero_all(fd)
    finally:
        os.close(fd)
    os.unlink(path)


@contextlib.contextmanager
def zeros_over(path: Path) -> Iterator[None]:
    """Within the block ``path`` is replaced; zeros over the bytes it had before then, flushed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        _zero_all(fd)
    finally:
        os.close(fd)


def zero(fd: int, start: int, end: int) -> None:
    """Zeros over the bytes from ``start`` to ``end`` of an open file."""
    while start < end:
        start += os.pwrite(fd, bytes(min(1 << 20, end - start)), start)


def _zero_all(fd: int) -> None:
    zero(fd, 0, os.fstat(fd).st_size)
    os.fdatasync(fd)


def sweep(folder: Path, *patterns: str) -> list[Path]:
    """Overwrites and removes what processes that died left half-written in ``folder``: names that match one of the
    patterns and end in `SUFFIX`. Their paths.
    """
    found = sorted({p for pattern in patterns for p in folder.glob(pattern + SUFFIX)})
    for path in found:
        if path.is_symlink():
            path.unlink()
        elif path.is_file():
            overwrite(path)
    return found
