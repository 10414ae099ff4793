"""Samples that a program holds: iterables, torch data sets, Hugging Face data sets. By what they offer, not by type."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from .axes import Layout, recognise
from .cache import DatasetWriter, cache_folder, new_folder
from .complete import Origins, complete
from .gate import Gate
from .naming import spelled, split_of
from .options import Cutting, Reading
from .streams import Stream, load_stream

MOST = 1_000_000  # samples taken of what does not say how many it has
BLOCK = 256
LABEL_KEYS = ("label", "labels", "y", "target", "class", "fine_label")
SAMPLE_KEYS = ("image", "img", "x", "pixel_values", "features", "signal", "data", "input")
GROUP_KEYS = {"subject": "subjects", "task": "tasks", "domain": "domains", "file": "files", "time": "times"}


def write_dataset(
    samples: Any, folder: str | Path, *, limit: int | None = None, reading: Reading | None = None
) -> Path:
    """Write ``samples`` into ``folder``, which `load_stream` and ``edgecl run --stream`` open; a block at a time.

    samples : an iterable or a sequence of (x, label) or of mappings with one of `SAMPLE_KEYS` and of `LABEL_KEYS`, and
        perhaps subject, task, domain, file, time; x is an array, a tensor or a picture, all of one shape. Or a mapping
        from 'train' and 'test' to such. Class names come from ``.classes`` or ``.features[label].names``
    limit : most samples of each part; without, an iterable of unknown length may have `MOST`
    Raises BadInput, with nothing written.
    """
    read = reading or Reading()
    gate = Gate(Path(folder), read.skip_broken)
    gate.forms.add("arrays")
    origins = Origins()
    with new_folder(Path(folder)) as out:
        sink = _Sink(out, read, gate)
        for part, source in _parts(samples):
            names = _class_names(source)
            for number, row in enumerate(_bounded(source, limit)):
                x, label, groups = _taken_apart(row, number)
                sink.add(x, f"sample {number}" + (f" of {part}" if part else ""))
                origins.labels.append(_label(label, names, number))
                if part is not None:
                    origins.test.append(part == "test")
                for name, value in groups.items():
                    getattr(origins, name).append(value)
        if sink.writer is None:
            raise BadInput("There are no samples.", "Give an iterable of (x, label).")
        sink.flush()
        for group in GROUP_KEYS.values():
            if getattr(origins, group) and len(getattr(origins, group)) != len(origins.labels):
                raise BadInput(f"Some samples name their {group}, others do not.", "Name them for all, or for none.")
        complete(sink.writer, gate, origins, read, type(samples).__name__)
    return Path(folder)


def stream_of(
    samples: Any, *, limit: int | None = None, cutting: Cutting | None = None, reading: Reading | None = None
) -> Stream:
    """A stream of ``samples`` as `write_dataset` takes them, kept in the cache folder as long as the stream lives."""
    parent = cache_folder() / "user"
    parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="objects-", dir=parent))
    try:
        folder = write_dataset(samples, place / "samples", limit=limit, reading=reading)
        stream = load_stream(folder, cutting=cutting)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(stream, shutil.rmtree, place, ignore_errors=True)
    return stream


class _Sink:
    """Collects samples into blocks and writes them; the first one's shape and type are everyone's."""

    def __init__(self, out: Path, reading: Reading, gate: Gate) -> None:
        self.out, self.reading, self.gate = out, reading, gate
        self.writer: DatasetWriter | None = None
        self.layout: Layout | None = None
        self.rows: list[np.ndarray] = []

    def add(self, x: Any, name: str) -> None:
        array = _as_array(x, name)
        if self.writer is None:
            self.layout = recognise(array.shape, self.reading.axes, "the data set", array.dtype.itemsize == 1)
            self.gate.kind = self.layout.kind
            if self.layout.said is not None:
                self.gate.note(self.layout.said)
            self.shape, self.small = array.shape, array.dtype.itemsize == 1 and array.dtype != np.int8
            self.writer = DatasetWriter(self.out, self.layout.shape, "uint8" if self.small else "float32", self.gate)
        if array.shape != self.shape or (self.small and (array.dtype.itemsize != 1 or array.dtype == np.int8)):
            raise BadInput(
                f"{name} is {array.dtype} {array.shape}, the first is {self.writer.dtype} {self.shape}.",
                "Bring all samples to one size and type first.",
            )
        self.rows.append(array)
        if len(self.rows) == BLOCK:
            self.flush()

    def flush(self) -> None:
        if self.rows and self.writer is not None and self.layout is not None:
            with np.errstate(over="ignore"):
                block = np.stack(self.rows).astype(self.writer.dtype)
            self.writer.append(self.layout.apply(block))
        self.rows = []


def _parts(samples: Any) -> Iterator[tuple[str | None, Any]]:
    """(part, its samples); a mapping of splits has several."""
    if isinstance(samples, Mapping):
        known = {split_of(str(name)): source for name, source in samples.items()}
        if "train" not in known:
            raise BadInput(f"The mapping has {', '.join(map(str, samples)) or 'nothing'}.", "Give 'train' and 'test'.")
        test = known.get("test", known.get("val"))
        yield ("train" if test is not None else None), known["train"]
        if test is not None:
            yield "test", test
        return
    if not isinstance(samples, Iterable) and not hasattr(samples, "__getitem__"):
        raise BadInput(f"{type(samples).__name__} is no data set.", "Give an iterable of (x, label).")
    yield None, samples


def _bounded(source: Any, limit: int | None) -> Iterator[Any]:
    """The samples, at most ``limit``; by index where the source has a length, since torch data sets end in no other
    way."""
    sized = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    if sized:
        n = len(source)
        yield from (source[i] for i in range(n if limit is None else min(n, limit)))
        return
    iterator = iter(source)
    yield from islice(iterator, MOST if limit is None else limit)
    if limit is None and next(iterator, None) is not None:
        raise BadInput(f"The iterable gives more than {MOST:,} samples.", "Give limit=, or a sized data set.")


def _taken_apart(row: Any, number: int) -> tuple[Any, Any, dict[str, Any]]:
    """(x, label, groups) of one sample."""
    if isinstance(row, Mapping):
        sample = next((row[key] for key in SAMPLE_KEYS if key in row), None)
        label = next((row[key] for key in LABEL_KEYS if key in row), None)
        if sample is None or label is None:
            raise BadInput(
                f"Sample {number} has {', '.join(map(str, row))}.",
                f"Name the sample one of {', '.join(SAMPLE_KEYS)}, the label one of {', '.join(LABEL_KEYS)}.",
            )
        return sample, label, {group: row[key] for key, group in GROUP_KEYS.items() if key in row}
    if isinstance(row, (tuple, list)) and len(row) == 2:
        return row[0], row[1], {}
    raise BadInput(f"Sample {number} is a {type(row).__name__}, no (x, label).", "Give pairs, or mappings.")


def _as_array(x: Any, name: str) -> np.ndarray:
    """Numbers of an array, a tensor or a picture (8 bits, grey or RGB)."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    elif hasattr(x, "convert") and hasattr(x, "mode"):
        x = np.asarray(x if x.mode in ("L", "RGB", "I;16", "I", "F") else x.convert("RGB"))
    array = np.asarray(x)
    if array.dtype.kind not in "iufb" or not array.ndim:
        raise BadInput(f"{name} is {array.dtype} {array.shape}.", "Give arrays of numbers, tensors or pictures.")
    return array


def _class_names(source: Any) -> list[str] | None:
    """Names behind whole-number labels, where the source tells them."""
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        for key in LABEL_KEYS:
            if getattr(features.get(key), "names", None):
                return [str(name) for name in features[key].names]
    classes = getattr(source, "classes", None)
    return [str(name) for name in classes] if isinstance(classes, (list, tuple)) else None


def _label(label: Any, names: list[str] | None, number: int) -> str | int:
    if hasattr(label, "item") and getattr(label, "ndim", 0) == 0:
        label = label.item()
    if isinstance(label, str):
        return spelled(label)
    if isinstance(label, int) and not isinstance(label, bool):
        return names[label] if names is not None and 0 <= label < len(names) else label
    raise BadInput(
        f"The label of sample {number} is a {type(label).__name__} ({str(label)[:40]}).", "Give whole numbers or text."
    )
