"""Recordings of different lengths, one a file or stretches of a table, become windows of one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import windows
from ..cache import DatasetWriter, new_folder
from ..complete import Origins, complete
from ..gate import Gate
from ..naming import subject_in
from ..options import Reading
from . import arrays
from .decode import Look, Unreadable
from .origins import settle_origins
from .walk import Entry


@dataclass(frozen=True)
class Stretch:
    """A series of one label: steps long, loaded by ``load`` as float32 [C, T]; ``origin`` as in `Origins`, by group."""

    steps: int
    label: str | int
    load: Callable[[], np.ndarray]
    name: str | Path
    origin: dict[str, Any] = field(default_factory=dict)


def one_series(entry: Entry, look: Look) -> Stretch:
    """A .npy file as one series."""

    def load() -> np.ndarray:
        return arrays.read(entry.file, look)[:, 0].astype(np.float32)

    subject = entry.subject or subject_in(entry.file.stem) or ""
    origin = {
        "domains": entry.domain or "", "test": entry.part == "test", "files": str(entry.file), "subjects": subject,
    }  # fmt: skip
    return Stretch(look.size[1], entry.label, load, entry.file, origin)


def convert_series(
    series: Sequence[Stretch], channels: int, target: Path, reading: Reading, gate: Gate, rate: float | None = None
) -> None:
    """Write the plain form of ``series`` [C, T]: windows cut from each, or each resampled whole."""
    gate.kind = "windows"
    gate.forms.add("series")
    rate = reading.sample_rate or rate
    steps, whole = windows.choose_window([s.steps for s in series], reading.window, rate)
    hop = windows.choose_hop(reading.hop, steps, rate)
    origins, short = Origins(), Counter[str]()
    with new_folder(target) as out:
        writer = DatasetWriter(out, (channels, 1, steps), "float32", gate)
        for one in series:
            try:
                values = one.load()
            except Unreadable as error:
                gate.broken(one.name, error.reason, str(one.label))
                continue
            first = [0] if whole else list(windows.starts(one.steps, steps, hop))
            if not first:
                short[str(one.label)] += 1
                gate.leave_out(f"series shorter than a window of {steps} steps")
            for start in first:
                piece = windows.resample(values, steps) if whole else values[:, start : start + steps]
                writer.append(piece[None, :, None])
                _add(origins, one, start)
        if whole:
            lengths = [s.steps for s in series]
            gate.note(f"series of {min(lengths)} to {max(lengths)} steps resampled to {windows.in_words(steps, rate)}")
        else:
            gate.note(f"cut into windows of {windows.in_words(steps, rate)}, one every {hop}")
        kept = Counter(str(label) for label in origins.labels)
        for label, n in short.items():
            if not kept[label]:
                raise gate.refuse(
                    f"All {n} series of class '{label}' are shorter than a window of {steps} steps.",
                    "Give a shorter --window, or --window whole to resample every series.", kept,
                )  # fmt: skip
        settle_origins(origins)
        complete(writer, gate, origins, reading, str(gate.place))


def _add(origins: Origins, one: Stretch, start: int) -> None:
    """What is known of the window of ``one`` that begins at ``start``."""
    origins.labels.append(one.label)
    origin = one.origin
    origins.test.append(bool(origin.get("test", False)))
    origins.domains.append(origin.get("domains", ""))
    origins.files.append(origin.get("files", ""))
    if "subjects" in origin:
        origins.subjects.append(origin["subjects"])
    if "tasks" in origin:
        origins.tasks.append(origin["tasks"])
    times = origin.get("times")
    origins.times.append(np.nan if times is None else float(times[start]))
