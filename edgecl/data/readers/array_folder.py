"""A folder of one array a file that are no pictures: windows, series of any length, rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..axes import Layout
from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..options import Reading
from . import arrays
from .decode import Look, Unreadable
from .origins import add_origin, settle_origins
from .recordings import convert_series, one_series
from .walk import Entry


def convert_arrays(looks: Sequence[tuple[Entry, Look]], target: Path, reading: Reading, gate: Gate) -> None:
    """Windows, series and rows; all in one layout, series of different lengths cut or resampled."""
    gate.forms.add("arrays")
    kinds = Counter(look.kind for _, look in looks)
    gate.kind = kinds.most_common(1)[0][0]
    if gate.kind == "windows" and (len({look.size for _, look in looks}) > 1 or reading.window is not None):
        channels = Counter(look.channels for _, look in looks).most_common(1)[0][0]
        series = []
        for entry, look in looks:
            if look.kind == "windows" and look.channels == channels:
                series.append(one_series(entry, look))
            else:
                gate.broken(entry.file, f"has shape {look.shape}, no series of {channels} channels", entry.label)
        convert_series(series, channels, target, reading, gate)
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
                writer.append(arrays.read(entry.file, look)[None])
            except Unreadable as error:
                gate.broken(entry.file, error.reason, entry.label)
                continue
            add_origin(origins, entry)
        settle_origins(origins)
        complete(writer, gate, origins, reading, str(gate.place))
