"""Files of the store: the one being appended to, its flushing, and the lock that makes one process the
owner.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import numpy as np

from . import _storage
from .errors import (
    BadRecord,
    ReplayMismatch,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    UseAfterFork,
    WriteBudgetSpent,
)
from .errors import io_error as io_error
from .layout import HEADER_BYTES, Header
from .whole import OWN, create, sync_directory


def segment_name(no: int) -> str:
    return f"{no:08x}.seg"


def field_name(no: int) -> str:
    return f"{no:08x}.fld"


Call = TypeVar("Call", bound=Callable[..., Any])


def typed(call: Call) -> Call:
    """A method of a store whose failing system calls surface as `StoreError`, wherever they were made."""

    @functools.wraps(call)
    def wrapper(store: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(store, *args, **kwargs)
        except (OSError, lmdb.Error, MemoryError) as error:
            raise as_typed(error, f"The store '{store.path}' failed") from error

    return wrapper  # type: ignore[return-value]


def as_typed(error: BaseException, what: str) -> BaseException:
    """The typed error for whatever a system call, the index or the allocator raised; others as they are."""
    if isinstance(error, OSError):
        return io_error(error, what)
    if isinstance(error, lmdb.Error):
        full = isinstance(error, lmdb.DiskError)  # LMDB calls a short write an I/O error
        kind, remedy = (StoreFull, "Free some space.") if full else (StoreDamaged, "Check the device.")
        return kind(f"{what}: {error}.", remedy)
    return error


class settling:
    """A call that changes an open store. When it fails, what stands in RAM and on flash may differ, so the handle takes
    nothing more until it is opened again; unless the error says that nothing was changed, or the caller's values were
    refused. appending: a write behind the last record, which changes nothing by failing.
    """

    def __init__(self, store: Any, appending: bool = False) -> None:
        self._store, self._appending = store, appending

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, failed: BaseException | None, trace: Any) -> None:
        if failed is None or isinstance(failed, _REFUSED):
            return
        error = as_typed(failed, f"The store '{self._store.path}' failed")
        if not (isinstance(error, StoreError) and (error.unchanged or self._appending)):
            self._store._give_up(error)
        if error is not failed:
            raise error from failed


_REFUSED = (BadRecord, WriteBudgetSpent, ReplayMismatch, UseAfterFork, StoreClosed)


def changes(call: Call) -> Call:
    """A method of an open store that changes more than it appends: `typed`, and `settling`."""

    @functools.wraps(call)
    def wrapper(store: Any, *args: Any, **kwargs: Any) -> Any:
        store._check(write=True)
        with settling(store):
            return call(store, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


class Writer:
    """An append-only file: ``end`` is where the next record goes; a failed write leaves ``end`` where it
    was.

    room: bytes the file will probably take; reserved in advance where the file system can, so that a flush
    has less to note.
    """

    def __init__(self, directory: Path, name: str, header: Header, end: int = 0, room: int = 0) -> None:
        self.path = directory / name
        self.header = header
        self.no = header.no
        self._new = end == 0  # its name is not on flash yet
        self._reserved = False
        self._failed: StoreError | None = None
        self.fd = -1
        try:
            self._open(end)
        except OSError as error:
            if self.fd >= 0:
                os.close(self.fd)
                if self._new:
                    with contextlib.suppress(OSError):
                        os.unlink(self.path)
            raise io_error(error, f"Cannot write '{self.path}'") from error
        self.end = end = end or HEADER_BYTES
        self.dirty = self._new
        if room > end:
            free = os.statvfs(self.path)
            if free.f_bavail * free.f_frsize > 8 * room:  # never what somebody may need on a nearly full device
                self._reserved = True
                if not _storage.reserve(self.fd, room):
                    with contextlib.suppress(OSError):
                        os.ftruncate(self.fd, self.end)  # part of it may be reserved

    def _open(self, end: int) -> None:
        if self._new:
            self.fd = create(self.path)
            head = memoryview(self.header.packed)
            while head:
                head = head[os.pwrite(self.fd, head, HEADER_BYTES - len(head)) :]
            return
        self.fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(self.fd).st_size > end:
            os.ftruncate(self.fd, end)  # a torn tail
            os.fsync(self.fd)

    def append(self, data: np.ndarray | bytes) -> int:
        """Writes all of ``data`` behind the last record; its offset. Not flushed."""
        start = self.end
        self.appended(self.write_behind(data), 0)
        return start

    def write_behind(self, data: np.ndarray | bytes) -> int:
        """Writes all of ``data`` where the next record would go; where it ends. It does not count yet."""
        at, view = self.end, memoryview(data)  # type: ignore[arg-type]
        try:
            while view:
                n = os.pwrite(self.fd, view, at)
                at += n
                view = view[n:]
        except OSError as error:
            raise self._torn(error) from error
        return at

    def cut(self) -> None:
        """Takes back what was written behind the last record that counts. Raises `OSError`."""
        os.ftruncate(self.fd, self.end)

    def appended(self, end: int, error: int) -> None:
        """Somebody wrote records up to ``end``, or failed with an errno."""
        if error:
            raise self._torn(OSError(error, os.strerror(error)))
        self.end = end
        self.dirty = True

    def _torn(self, error: OSError) -> StoreError:
        with contextlib.suppress(OSError):  # recovery skips the rest: its checksums are wrong
            os.ftruncate(self.fd, self.end)
        return io_error(error, f"Cannot write '{self.path}'")

    def sync(self) -> None:
        """Returns when everything appended is on flash, the file's name included. After a failure it always fails:
        the kernel may have dropped what it could not write, and the next call would succeed without it.
        """
        if self._failed is not None:
            raise self._failed
        if not self.dirty:
            return
        self.dirty = False  # before the call: what is appended meanwhile makes it dirty again
        try:
            if self._new:
                os.fsync(self.fd)
                sync_directory(self.path.parent)
                self._new = False
            else:
                os.fdatasync(self.fd)
        except OSError as error:
            self.dirty = True
            self._failed = io_error(error, f"Cannot flush '{self.path}'")
            raise self._failed from error

    def close(self, size: int | None = None) -> None:
        """Gives what was reserved and not used back. size: of the file, where more than records stands in it."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            if self._reserved:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, self.end if size is None else size)
            os.close(fd)


class Lock:
    """``LOCK`` in the store's directory, held with flock while the owner lives; it contains the owner's
    pid.
    """

    NAME = "LOCK"

    def __init__(self, directory: Path) -> None:
        path = directory / self.NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, OWN)
        except OSError as error:
            raise io_error(error, f"Cannot open the store '{directory}' for writing") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(self._fd)
                raise StoreError(
                    f"The file system of '{directory}' cannot lock files ({error.strerror}).",
                    "Keep the store on a local file system.",
                ) from error
            text = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            pid = int(text) if text.isdigit() else 0
            whose = "this process" if pid == os.getpid() else f"process {pid}" if pid else "another process"
            raise StoreLocked(
                f"The store '{directory}' is in use by {whose}.", "Stop it, or open with read_only=True.", pid
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._fd)
            raise io_error(error, f"Cannot open the store '{directory}' for writing") from error

    def release(self) -> None:
        os.close(self._fd)
