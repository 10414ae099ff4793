"""Files of one array each: pictures, windows or series of any length, or rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..axes import Layout, recognise
from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..options import Reading
from .decode import Look, Unreadable
from .walk import Entry


def look(file: Path, reading: Reading) -> Look:
    """Shape and type of a .npy file, and what it holds by itself. Raises `Unreadable`; BadInput for unclear axes."""
    shape, dtype = _header(file)
    if dtype.kind not in "iufb":
        raise Unreadable(f"holds {dtype}")
    layout = recognise(shape, reading.axes, file.name, dtype.itemsize == 1)
    c, h, w = layout.shape
    depth = "8" if dtype == np.uint8 or dtype.kind == "b" else "raw"
    return Look((h, w), c, depth, kind=layout.kind, shape=shape, axes=layout.axes)


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
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            left = file.stat().st_size - stream.tell()
    except (ValueError, EOFError, OSError):
        raise Unreadable("damaged, or no array") from None
    if dtype.hasobject:
        raise Unreadable("holds Python objects, which are never loaded")
    if left < size:
        raise Unreadable("cut short")
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


def convert(looks: Sequence[tuple[Entry, Look]], target: Path, reading: Reading, gate: Gate) -> None:
    """Windows, series and rows; all in one layout, series of different lengths cut or resampled."""
    from .pictures import add_origin, settle_origins
    from .recordings import Series, convert_series

    kinds = Counter(look.kind for _, look in looks)
    gate.kind = kinds.most_common(1)[0][0]
    if gate.kind == "windows" and (len({look.size for _, look in looks}) > 1 or reading.window is not None):
        series = [Series(entry, look) for entry, look in looks]
        convert_series(series, target, reading, gate)
        return
    _, first = looks[0]
    if said := Layout(first.axes, first.kind, (first.channels, *first.size)).said:
        gate.note(said)
    origins = Origins()
    with new_folder(target) as out:
        dtype = "uint8" if all(look.depth == "8" for _, look in looks) else "float32"
        writer = DatasetWriter(out, (first.channels, *first.size), dtype, gate)
        for entry, look in looks:
            if (look.channels, *look.size) != writer.shape:
                gate.broken(entry.file, f"has shape {look.shape}, others {first.shape}", entry.label)
                continue
            try:
                writer.append(read(entry.file, look)[None])
            except Unreadable as error:
                gate.broken(entry.file, error.reason, entry.label)
                continue
            add_origin(origins, entry)
        settle_origins(origins)
        complete(writer, gate, origins, reading, str(gate.place))
