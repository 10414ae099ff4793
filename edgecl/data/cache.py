"""The cache folder, and data sets in their plain form: raw samples, small arrays, one JSON file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError
from ..folders import cache_path
from ..storage.bounded import read_json_file
from .gate import Gate
from .source import FileSource

FORMAT = 1
GROUPS = {"subjects": np.int32, "tasks": np.int32, "domains": np.int32, "files": np.int32, "times": np.float64}
AGAIN = "Remove that folder and fetch the data set again."


def cache_folder() -> Path:
    """$EDGECL_CACHE, else $XDG_CACHE_HOME/edgecl, else ~/.cache/edgecl (not created)."""
    return Path(cache_path())


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block succeeds and vanishes when it fails.

    Files are flushed before the rename and the parent folder after it: ``target`` is whole or absent.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise EdgeclError(
            f"Cannot write to the cache folder {target.parent}: {error.strerror}.",
            "Set EDGECL_CACHE to a folder you may write to.",
        ) from error
    try:
        yield work
        for file in work.iterdir():
            flush(file)
        flush(work)
        _take_place(work, target)
        flush(target.parent)
    except OSError as error:
        raise EdgeclError(
            f"Writing {target} failed: {error.strerror or error}.",
            "Free some space or set EDGECL_CACHE elsewhere.",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _take_place(work: Path, target: Path) -> None:
    """Rename ``work`` to ``target``; one already there, ours or another process's, makes room."""
    for _ in range(10):
        try:
            work.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        with suppress(FileNotFoundError):
            target.rename(old / "gone")
        shutil.rmtree(old, ignore_errors=True)
    raise OSError(errno.EBUSY, "other processes keep replacing it")


def flush(path: Path) -> None:
    """fsync a file or a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True)
class PlainDataset:
    """A data set in the cache.

    samples : every sample, labels as head units in the natural order of ``labels``
    test : bool [n], True where the fixed split puts a sample into the test set
    tasks : int32 [n] or None, for data that names its own tasks
    mean, std : per channel, raw units, over the training part
    domains, files : int32 [n] or None: where a sample comes from; times : float64 [n] seconds or None
    about : whatever else its meta.json holds: source, licence, names of groups, what the gate understood
    """

    samples: FileSource
    labels: tuple[str | int, ...]
    test: np.ndarray
    tasks: np.ndarray | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    domains: np.ndarray | None = None
    files: np.ndarray | None = None
    times: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def names(self, group: str) -> list[str] | None:
        """The names behind the numbers of 'subjects', 'tasks', 'domains' or 'files', where they are names."""
        return self.about.get("names", {}).get(group)


class DatasetWriter:
    """Writes the plain form into a folder, a block of samples at a time.

    ``shape`` (C, H, W), ``dtype`` 'uint8' or 'float32'. Nothing but the current block is resident.
    ``gate`` looks at every block.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], dtype: str, gate: Gate | None = None) -> None:
        self.folder, self.shape, self.dtype = folder, tuple(int(s) for s in shape), np.dtype(dtype)
        self.count = 0
        self.gate = gate
        self._file = open(folder / "samples.raw", "wb")  # noqa: SIM115 - closed by finish()

    def append(self, block: np.ndarray) -> None:
        """``block`` [k, C, H, W], or anything that reshapes to it. NaN and infinity are refused by index."""
        block = np.ascontiguousarray(block).reshape(-1, *self.shape)
        if block.dtype.kind == "f":
            bad = ~np.isfinite(block).all(axis=(1, 2, 3))
            if bad.any():
                raise BadInput(
                    f"Sample {self.count + int(np.argmax(bad))} holds NaN or infinity.",
                    "Remove or repair these samples.",
                )
        if self.gate is not None:
            self.gate.look(block)
        self._file.write(block.astype(self.dtype, copy=False).tobytes())
        self.count += len(block)

    def finish(
        self,
        labels: tuple[str | int, ...],
        units: np.ndarray,
        test: np.ndarray,
        subjects: np.ndarray | None = None,
        tasks: np.ndarray | None = None,
        groups: Mapping[str, np.ndarray] | None = None,
        **about: object,
    ) -> None:
        """Write labels, split, statistics, ``groups`` (arrays [n] named as in `GROUPS`) and ``about`` (licence ...)."""
        self._file.close()
        types = {"units": np.int32, "test": bool, **GROUPS}
        arrays = {"units": units, "test": test, "subjects": subjects, "tasks": tasks, **(groups or {})}
        for name, array in arrays.items():
            if array is not None:
                if len(array) != self.count:
                    raise BadInput(f"{self.count} samples but {len(array)} {name}.", "Give one per sample.")
                np.save(self.folder / f"{name}.npy", array.astype(types[name]))
        mean, std = self._statistics(np.flatnonzero(~test.astype(bool)))
        meta = {
            "format": FORMAT,
            "shape": self.shape,
            "dtype": self.dtype.name,
            "labels": list(labels),
            "mean": mean,
            "std": std,
            **about,
        }
        (self.folder / "meta.json").write_text(json.dumps(meta, indent=1))

    def _statistics(self, train: np.ndarray) -> tuple[list[float], list[float]]:
        source = FileSource(self.folder / "samples.raw", self.shape, self.dtype.name, np.zeros(self.count, np.int32))
        channels = self.shape[0]
        total, square, n = np.zeros(channels), np.zeros(channels), 0
        for start in range(0, train.size, 1024):
            x = source.read(train[start : start + 1024]).astype(np.float64)
            total += x.sum(axis=(0, 2, 3))
            square += np.square(x).sum(axis=(0, 2, 3))
            n += x.size // channels
        source.close()
        mean = total / max(n, 1)
        std = np.sqrt(np.maximum(square / max(n, 1) - mean**2, 0))
        std[std < 1e-6] = 1.0  # a constant channel is only centred
        return [round(v, 6) for v in mean.tolist()], [round(v, 6) for v in std.tolist()]


def open_dataset(folder: Path) -> PlainDataset | None:
    """The data set in ``folder``, or None when it is not there or of an older format."""
    try:
        meta = read_json_file(folder / "meta.json")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadInput(f"{folder}/meta.json is damaged.", AGAIN) from error
    if not isinstance(meta, dict):
        raise BadInput(f"{folder}/meta.json is damaged.", AGAIN)
    if meta.get("format") != FORMAT:
        return None

    def array(name: str) -> np.ndarray | None:
        path = folder / f"{name}.npy"
        return np.load(path, allow_pickle=False) if path.exists() else None

    try:
        units, test = array("units"), array("test")
        if units is None or test is None:
            raise FileNotFoundError
        samples = FileSource(folder / "samples.raw", tuple(meta["shape"]), meta["dtype"], units, array("subjects"))
        mean, std = tuple(meta["mean"]), tuple(meta["std"])
        known = {"format", "shape", "dtype", "labels", "mean", "std"}
        about = {name: value for name, value in meta.items() if name not in known}
        return PlainDataset(
            samples, tuple(meta["labels"]), test, array("tasks"), mean, std,
            array("domains"), array("files"), array("times"), about,
        )  # fmt: skip
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"{folder} is incomplete.", AGAIN) from error
    except (KeyError, TypeError, ValueError, EOFError) as error:
        raise BadInput(f"{folder} is damaged.", AGAIN) from error
