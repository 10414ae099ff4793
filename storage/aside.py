"""Segment files that hold records nobody else has and that cannot be among the segments: kept in a folder of their own.

Nothing reads them but an audit and a person; what was forgotten is blanked in them, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from . import _storage
from .errors import CannotRead
from .layout import HEADER_BYTES, SAMPLES, Header
from .recovery import Found
from .whole import make_folder, sync_directory, zero

FOLDER = "aside"


def set_aside(store: Path, item: Found) -> None:
    """Moves a file out of the segments; one of that name there gets another."""
    folder = store / FOLDER
    make_folder(folder)
    name, n = item.path.name, 0
    while (folder / name).exists():
        n += 1
        name = f"{item.path.stem}-{n}{item.path.suffix}"
    os.replace(item.path, folder / name)
    sync_directory(folder)
    sync_directory(item.path.parent)


def files(store: Path) -> list[Path]:
    """What was set aside."""
    folder = store / FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def blank(store: Path, variable: bool, subject: int, below: int) -> list[str]:
    """Takes a subject's records (in the clear, below an id) out of what was set aside; the files that held some."""
    return [f"{FOLDER}/{path.name}" for path in files(store) if _blank(path, variable, subject, below)]


def _blank(path: Path, variable: bool, subject: int, below: int) -> bool:
    """Zeros over everything in a file but sound records of others, flushed; whether anything was there to blank."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size, head = os.fstat(fd).st_size, Header.read(fd)
        if head is None or head.kind != SAMPLES:  # nobody can tell whose it is
            zero(fd, 0, size)
            os.fsync(fd)
            return True
        first, payload = head.first_id, head.payload
        found = _storage.scan_samples(fd, HEADER_BYTES, size, payload, variable, head.crc)
        if found[6]:
            raise CannotRead(f"The device does not give all of '{path}'.", "Check the device (dmesg), and try again.")
        ok, rel, _, subjects, offsets = (np.asarray(a) for a in found[:5])
        theirs = (subjects == subject) & (first + rel.astype(np.int64) < below)
        keep = np.flatnonzero((ok > 0) & ~theirs)
        stride = _storage.RECORD_HEAD + payload
        starts = offsets[keep].astype(np.int64) if variable else HEADER_BYTES + stride * keep
        at = HEADER_BYTES
        for start in starts.tolist():
            zero(fd, at, start)
            length = stride
            if variable:
                head = os.pread(fd, 8, start)
                length = (_storage.RECORD_HEAD + (int.from_bytes(head[4:7], "little")) + 7) // 8 * 8
            at = start + length
        zero(fd, at, size)
        os.fsync(fd)
        return bool(theirs.any() or not ok.all())
    finally:
        os.close(fd)
