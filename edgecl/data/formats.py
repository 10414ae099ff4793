"""Standard distribution files: idx (plain or gzip). Read in pieces."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from ..errors import BadInput


def open_maybe_gzip(path: Path) -> IO[bytes]:
    with open(path, "rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else open(path, "rb")


def read_idx(path: Path, block: int = 1024) -> Iterator[np.ndarray]:
    """Blocks [k, ...] of an idx file of uint8.

    idx: bytes 00 00 08 rank, then rank big-endian uint32 sizes, then data.

    Raises BadInput when the file is not idx of uint8, or is cut, or has bytes left over.
    """
    remedy = "Give the file as distributed, gzip-compressed or not."
    try:
        with open_maybe_gzip(path) as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise BadInput(f"{path} is not an idx file of unsigned bytes.", remedy)
            sizes = np.frombuffer(stream.read(4 * head[3]), ">u4").astype(int).tolist()
            if len(sizes) != head[3]:
                raise BadInput(f"{path} ends within its header.", remedy)
            count, shape = sizes[0], sizes[1:]
            row = int(np.prod(shape, dtype=np.int64))
            for start in range(0, count, block):
                k = min(block, count - start)
                data = stream.read(k * row)
                if len(data) != k * row:
                    raise BadInput(f"{path} ends after {start + len(data) // max(row, 1)} of {count} items.", remedy)
                yield np.frombuffer(data, np.uint8).reshape(k, *shape)
            if stream.read(1):
                raise BadInput(f"{path} has bytes after its {count} items.", remedy)
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}.", remedy) from error


def find_file(folder: Path, *stems: str) -> Path:
    """The first of ``stem`` or ``stem.gz`` present in ``folder``."""
    for stem in stems:
        for name in (stem, f"{stem}.gz"):
            if (folder / name).is_file():
                return folder / name
    raise BadInput(
        f"{folder} does not hold {stems[0]} (or {stems[0]}.gz).",
        "Point to the folder with the standard files.",
    )
