"""Samples read by index: from a raw file (pread, never mapped), an array, or a subset of another source."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import BadInput, EdgeclError
from ..storage.sets import distinct

KEPT_PIECE = 32  # samples read from a costly source at a time


class SampleSource:
    """n samples of one shape and dtype.

    shape : of one sample; dtype : numpy dtype of its values
    labels : int32 [n], head unit of each sample
    subjects : int32 [n] or None
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    labels: np.ndarray
    subjects: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.labels.size)

    @property
    def sample_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Samples at ``indices`` (ints [k]) as [k, *shape]; into ``out[:k]`` when given (C-contiguous)."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise BadInput("Sample indices must be a one-dimensional array of integers.", "Pass e.g. np.arange(8).")
        if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= len(self)):
            raise BadInput(
                f"A sample index lies outside 0..{len(self) - 1}.",
                "Pass indices into this source, not into its parent.",
            )
        k = int(indices.size)
        if out is None:
            out = np.empty((k, *self.shape), self.dtype)
        elif out.dtype != self.dtype or out.shape[1:] != self.shape or out.shape[0] < k or not out.flags.c_contiguous:
            raise BadInput(
                f"The buffer is {out.dtype} {out.shape}, the samples are {self.dtype} ({k}, {self.shape}).",
                "Pass a C-contiguous buffer of the source's dtype and shape, a row per index.",
            )
        out = out[:k]
        self._fill(indices, out)
        return out

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> SampleSource:
        """The same samples seen through an index array; nothing is read or copied."""
        return SubsetSource(self, np.asarray(indices))

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(x, labels) in order; x is one buffer, overwritten by the next batch."""
        buffer = np.empty((min(size, max(len(self), 1)), *self.shape), self.dtype)
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield self.read(np.arange(start, stop), buffer), self.labels[start:stop]

    def close(self) -> None:
        """Release the file, if any."""


class FileSource(SampleSource):
    """Samples back to back in a raw little-endian file. Resident: the labels only (4 bytes a sample)."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: str,
        labels: np.ndarray,
        subjects: np.ndarray | None = None,
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.labels = np.ascontiguousarray(labels, np.int32)
        self.subjects = None if subjects is None else np.ascontiguousarray(subjects, np.int32)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        size, expected = os.fstat(self._fd).st_size, len(self) * self.sample_bytes
        if size != expected:
            self.close()
            raise BadInput(
                f"{self.path} has {size} bytes, {len(self)} samples need {expected}.",
                "Remove that folder and fetch the data set again.",
            )

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        if not indices.size:
            return
        rows = memoryview(out.reshape(-1).view(np.uint8).data)
        size = self.sample_bytes
        # one call per run of consecutive samples: an evaluation pass is one read a batch
        starts = np.concatenate(([0], np.flatnonzero(np.diff(indices.astype(np.int64)) != 1) + 1, [indices.size]))
        for first, last in zip(starts[:-1].tolist(), starts[1:].tolist()):
            self._read_exactly(rows[first * size : last * size], int(indices[first]) * size)

    def _read_exactly(self, view: memoryview, offset: int) -> None:
        while view:
            got = os.preadv(self._fd, [view], offset)
            if got <= 0:
                raise OSError(f"{self.path} ended at byte {offset}: it was cut while in use")
            view, offset = view[got:], offset + got

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


class ArraySource(SampleSource):
    """Samples held in RAM: ``x`` [n, *shape] with int32 labels [n]."""

    def __init__(self, x: np.ndarray, labels: np.ndarray, subjects: np.ndarray | None = None) -> None:
        if len(x) != len(labels):
            raise BadInput(f"{len(x)} samples but {len(labels)} labels.", "Pass one label per sample.")
        self.x = x
        self.shape = tuple(x.shape[1:])
        self.dtype = x.dtype
        self.labels = np.ascontiguousarray(labels, np.int32)
        self.subjects = None if subjects is None else np.ascontiguousarray(subjects, np.int32)

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        np.take(self.x, indices, axis=0, out=out)


class MappedSource(SampleSource):
    """A source read through a function, ``rows`` samples at a time; nothing more is resident.

    apply : samples [n, ...] of the source -> samples [n, *shape] of ``dtype``
    """

    def __init__(
        self,
        base: SampleSource,
        apply: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: str,
        rows: int,
    ) -> None:
        self.base, self.apply, self.rows = base, apply, rows
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.labels, self.subjects = base.labels, base.subjects

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        for at in range(0, indices.size, self.rows):
            out[at : at + self.rows] = self.apply(self.base.read(indices[at : at + self.rows]))

    def close(self) -> None:
        self.base.close()


class KeptSource(SampleSource):
    """A source that is costly to read: what was read once stands in a file of ``folder`` for the next time.

    Resident: a byte a sample. The file has no name and goes with the process.
    """

    def __init__(self, base: SampleSource, folder: Path) -> None:
        self.base, self.shape, self.dtype = base, base.shape, base.dtype
        self.labels, self.subjects = base.labels, base.subjects
        self._there = np.zeros(len(base), bool)
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise _no_room(folder, error) from error
        self._folder = folder

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        with self._lock:
            try:
                self._keep(distinct(indices[~self._there[indices]]))
                for row, index in zip(out, indices.tolist()):
                    view = memoryview(row.reshape(-1).view(np.uint8).data)
                    if os.preadv(self._file.fileno(), [view], index * self.sample_bytes) != len(view):
                        raise OSError(errno.EIO, "a kept sample was cut while in use")
            except OSError as error:
                raise _no_room(self._folder, error) from error

    def _keep(self, missing: np.ndarray) -> None:
        """Read ``missing`` from the base, a piece at a time."""
        for at in range(0, missing.size, KEPT_PIECE):
            rows = missing[at : at + KEPT_PIECE]
            for index, sample in zip(rows.tolist(), self.base.read(rows)):
                if os.pwrite(self._file.fileno(), sample.tobytes(), index * self.sample_bytes) != self.sample_bytes:
                    raise OSError(errno.ENOSPC, "no space left")
            self._there[rows] = True

    def close(self) -> None:
        self._file.close()
        self.base.close()


def _no_room(folder: Path, error: OSError) -> EdgeclError:
    return EdgeclError(
        f"Samples cannot be kept in {folder}: {error.strerror or error}.",
        "Free some space, or set EDGECL_CACHE to another folder.",
    )


class SubsetSource(SampleSource):
    """A source seen through an index array; subsets of subsets point at the original."""

    base: SampleSource
    indices: np.ndarray

    def __init__(self, base: SampleSource, indices: np.ndarray) -> None:
        if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= len(base)):
            raise BadInput(f"A subset index lies outside 0..{len(base) - 1}.", "Pass indices into the source.")
        if isinstance(base, SubsetSource):
            indices = base.indices[indices]
            base = base.base
        self.base = base
        self.indices = np.ascontiguousarray(indices, np.int32)
        self.shape, self.dtype = base.shape, base.dtype
        self.labels = base.labels[self.indices]
        self.subjects = None if base.subjects is None else base.subjects[self.indices]

    def _fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        self.base._fill(self.indices[indices], out)

    def close(self) -> None:
        self.base.close()
