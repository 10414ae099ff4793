"""Files of one array each: pictures, windows or series of any length, or rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import BadInput
from ..axes import Layout, recognise
from ..options import Reading
from .decode import Look, Unreadable
from .walk import Entry


def look(file: Path, reading: Reading) -> Look:
    """Shape and type of a .npy file, and what it holds by itself. Raises `Unreadable`; BadInput for unclear axes."""
    shape, dtype = _header(file)
    if dtype.kind not in "iufb":
        raise Unreadable(f"holds {dtype}")
    depth = "8" if dtype == np.uint8 or dtype.kind == "b" else "raw"
    try:
        layout = recognise(shape, reading.axes, file.name, dtype.itemsize == 1)
    except BadInput:
        if reading.axes is not None or len(shape) > 3:
            raise
        return Look((0, 0), 0, depth, kind="unclear", shape=shape)
    return _as_look(layout, depth, shape)


def _as_look(layout: Layout, depth: str, shape: tuple[int, ...]) -> Look:
    c, h, w = layout.shape
    return Look((h, w), c, depth, kind=layout.kind, shape=shape, axes=layout.axes)


def agree(looks: Sequence[tuple[Entry, Look]]) -> list[tuple[Entry, Look]]:
    """``looks`` where series that are too short to be told by themselves follow the longer ones.

    Raises BadInput where none is clear.
    """
    clear = Counter((look.axes, look.channels) for _, look in looks if look.kind == "windows" and look.shape)
    if not clear and not any(look.kind == "unclear" for _, look in looks):
        return list(looks)
    axes, channels = clear.most_common(1)[0][0] if clear else (None, 0)
    agreed = []
    for entry, look in looks:
        if look.kind == "unclear" or (look.shape and look.kind == "pictures" and len(look.shape) == 2):
            layout = None
            if axes in ("tc", "ct") and len(look.shape) == 2:
                layout = recognise(look.shape, axes, entry.file.name)
            if layout is not None and layout.shape[0] == channels:
                look = _as_look(layout, look.depth, look.shape)
            elif look.kind == "unclear":
                recognise(look.shape, None, entry.file.name)  # says what to ask for
        agreed.append((entry, look))
    return agreed


def _header(file: Path) -> tuple[tuple[int, ...], np.dtype]:
    try:
        with open(file, "rb") as stream:
            if not file.stat().st_size:
                raise Unreadable("empty")
            version = np.lib.format.read_magic(stream)
            first = version == (1, 0)
            shape, _, dtype = (
                np.lib.format.read_array_header_1_0(stream) if first else np.lib.format.read_array_header_2_0(stream)
            )
            size = math.prod(shape) * dtype.itemsize
            left = file.stat().st_size - stream.tell()
    except (ValueError, EOFError, OSError):
        raise Unreadable("damaged, or no array") from None
    if dtype.hasobject:
        raise Unreadable("holds Python objects, which are never loaded")
    if left != size:
        raise Unreadable("cut short" if left < size else "longer than it says")
    if not shape or not size:
        raise Unreadable("empty")
    return shape, dtype


def load(file: Path) -> np.ndarray:
    """The array, finite. Raises `Unreadable`."""
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise Unreadable("damaged") from None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("holds NaN or infinity")
    return values


def read(file: Path, look: Look) -> np.ndarray:
    """The sample as [C, H, W], uint8 where it is of 8 bits, else float32."""
    layout = Layout(look.axes, look.kind, (look.channels, *look.size))
    values = load(file)
    with np.errstate(over="ignore"):
        made = layout.apply(values[None])[0].astype(np.uint8 if look.depth == "8" else np.float32)
    if not np.isfinite(made).all():
        raise Unreadable("holds values beyond float32")
    return made
