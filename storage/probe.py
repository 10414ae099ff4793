"""What a file system can do, tried before a store or a saved state is written there, so that it is refused while
nothing has changed. Hard links are not needed, nor that folders can be flushed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from pathlib import Path

from .errors import StoreError
from .files import io_error
from .whole import SUFFIX, create


def probe(folder: Path) -> None:
    """`StoreError` when files in ``folder`` cannot be made, replaced by renaming, mapped and removed."""
    names = [folder / f"probe.{secrets.token_hex(6)}{SUFFIX}" for _ in range(2)]
    what = "make a file"
    try:
        fds = [create(name) for name in names]
        try:
            what = "write at a place of its choice"
            os.pwrite(fds[0], bytes(mmap.PAGESIZE), 0)
            what = "map a file"
            mmap.mmap(fds[0], mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()
            what = "replace a file by renaming another"
            os.replace(names[0], names[1])
        finally:
            for fd in fds:
                os.close(fd)
        what = "remove a file"
        os.unlink(names[1])
    except OSError as error:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(name)
        known = io_error(error, f"One cannot {what} in '{folder}'")
        raise type(known)(known.cause, known.remedy) from error
    except ValueError as error:  # of mmap
        raise StoreError(f"One cannot {what} in '{folder}': {error}.", "Keep it on a local file system.") from error
