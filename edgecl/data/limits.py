"""What a foreign array, archive or picture may claim before anything of it is read into memory."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from ..errors import BadInput

MOST_RATIO = 200  # of an archive's content to its bytes: real data is far below, a bomb at a thousand
FREE_BYTES = 16 << 20  # content below which no ratio is looked at
MOST_LETTERS = 1024  # of a label
MOST_LABELS = 65_533  # what a record's class can be
MOST_PIXELS = 1 << 27  # of a picture


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses an archive whose content is out of proportion to its bytes, or that claims more members than arrays."""
    content, packed = sum(i.file_size for i in archive.infolist()), path.stat().st_size
    if content > FREE_BYTES and content > MOST_RATIO * packed:
        raise BadInput(
            f"{path} claims {content:,} bytes of content in a file of {packed:,}: more than {MOST_RATIO} times.",
            "Write it with numpy.savez, without compression.",
        )


def check_size(name: str, shape: tuple[int, ...], dtype: np.dtype, there: int) -> None:
    """Refuses an array whose header claims other than the ``there`` bytes that follow it."""
    claimed = math.prod(shape) * dtype.itemsize if all(n >= 0 for n in shape) else -1
    if claimed != there:
        raise BadInput(
            f"The array '{name}' claims {claimed:,} bytes where {there:,} are: it is cut short or longer than it says.",
            "Write it again with numpy.savez.",
        )



def check_pixels(file: Path, width: int, height: int) -> None:
    """Refuses a picture by what its header says of its size."""
    if width * height > MOST_PIXELS:
        raise BadInput(f"{file} has {width} x {height} pixels, the limit is {MOST_PIXELS:,}.", "Make it smaller.")
