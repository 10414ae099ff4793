"""Errors of the store. Each says what was wrong (``cause``) and what to do about it (``remedy``)."""

from __future__ import annotations

import errno


class StoreError(Exception):
    """A condition of the store that the caller has to deal with: ``cause`` and ``remedy``, one line each."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(f"{cause} {remedy}".strip())
        self.cause = cause
        self.remedy = remedy
        self.unchanged = False  # True: nothing on flash or in RAM is other than before the call


class StoreLocked(StoreError):
    """Another process (or another handle in this one) owns the store; ``pid`` is its process id, 0 if
    unknown.
    """

    def __init__(self, cause: str, remedy: str = "", pid: int = 0) -> None:
        super().__init__(cause, remedy)
        self.pid = pid


class StoreDamaged(StoreError):
    """The store cannot be used as it is on flash, the device reported an I/O error, or a write was interrupted
    (Ctrl-C); after the last it is whole when it is opened again.
    """


class CannotRead(StoreDamaged):
    """The device did not give a record that may be sound: what was to replace its file is not done, nothing is
    dropped.
    """


class StoreFull(StoreError):
    """No space left on the device, or an address space of the format is used up."""


class WriteBudgetSpent(StoreError):
    """The daily write budget is used up; ``retry_after`` seconds from now the write fits (inf: never)."""

    def __init__(self, cause: str, remedy: str = "", retry_after: float = 0.0) -> None:
        super().__init__(cause, remedy)
        self.retry_after = retry_after


class MissingCodec(StoreError):
    """The library of a codec is not installed."""


class WrongStream(StoreError):
    """The store on flash belongs to a stream of another shape, type or set of fields."""


class WrongKey(StoreError):
    """The root key given is not the one that the store's keys are wrapped with."""


class UseAfterFork(StoreError):
    """A handle was used in a forked child of the process that opened it."""


class StoreClosed(StoreError):
    """A handle was used after `close`."""


class ReadOnly(StoreError):
    """A write through a handle opened with ``read_only=True``."""


class BadRecord(StoreError, ValueError):
    """A sample, class, id, field or option of the caller that cannot be used."""


class ReplayMismatch(StoreError):
    """A sample appended again during a resume is not the one on flash."""


def io_error(error: OSError, what: str) -> StoreError:
    """The typed error for a failed system call."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"{what}: no space left ({error.strerror}).", "Free some space or set a smaller limit.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(f"{what}: {error.strerror}.", "Make the directory writable or open with read_only=True.")
    return StoreDamaged(f"{what}: {error.strerror}.", "Check the device (dmesg) and its file system.")
