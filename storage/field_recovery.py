"""Field files as found on flash: every record is read and checked."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import _storage
from .layout import FIELDS, FORMAT, HEADER_BYTES, READABLE, Description, Header


@dataclass
class FieldFile:
    """One field file: its header and the sound records in it."""

    header: Header
    offset: np.ndarray
    field: np.ndarray
    length: np.ndarray
    ids: np.ndarray
    end: int
    damaged_bytes: int
    unread: int  # bytes the device did not give


def survey_fields(directory: Path, description: Description) -> Iterator[FieldFile]:
    """Reads and checks every field file, oldest first, one at a time."""
    for name in sorted(n for n in os.listdir(directory) if re.fullmatch(r"[0-9a-f]{8}\.fld", n)):
        with contextlib.suppress(FileNotFoundError):  # a reader beside the owner: compacted meanwhile
            yield read_field_file(directory, int(name[:8], 16), description)


def read_field_file(directory: Path, no: int, description: Description) -> FieldFile:
    """One field file. Everything in its header but the format follows from its name, so a damaged header loses
    nothing: both formats are tried.
    """
    fd = os.open(directory / f"{no:08x}.fld", os.O_RDONLY | os.O_CLOEXEC)
    try:
        stored = Header.read(fd)
        versions = [stored.version] if stored is not None else [v for v in READABLE[::-1] if v <= FORMAT]
        size = os.fstat(fd).st_size
        best: FieldFile | None = None
        for version in versions:
            header = Header(FIELDS, no, 0, 0, 0, description.store, version)
            offset, kind, length, ids, end, damaged, unread = _storage.scan_fields(fd, HEADER_BYTES, size, header.crc)
            if best is None or len(ids) > len(best.ids):
                best = FieldFile(header, offset, kind, length, ids, max(end, HEADER_BYTES), damaged, unread)
        assert best is not None
        return best
    finally:
        os.close(fd)
