"""What a network's file holds, read a tensor at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .checksums import InParts
from .graph import Graph

LARGEST_HEADER = 64_000_000  # bytes of graph and tensor table in a file
PART = 1 << 18  # bytes of a tensor that only passes, read at a time
Array = np.ndarray


class Tensors(Mapping[str, Any]):
    """Tensors of an open file, each checked and read when it is asked for; not mapped: a map's pages are resident until
    it is closed. ``kept``: those of them to hold; of the others a little at a time is read."""

    def __init__(self, file: Any, raw: BinaryIO, graph: Graph, wanted: Collection[str] | None) -> None:
        self._file, self._raw, self._graph, self._names = file, raw, graph, list(file.keys())
        size = int.from_bytes(raw.read(8), "little")  # safetensors has checked the header and its offsets
        self._header, self._begin = json.loads(raw.read(size)), 8 + size
        self._wanted = self._names if wanted is None else wanted
        self.kept: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array | InParts:
        shape = _checked_shape(self._file, name, self._graph)
        self._raw.seek(self._begin + int(self._header[name]["data_offsets"][0]))
        if name not in self._wanted:
            return InParts(np.dtype("<f4"), shape, self._parts(4 * math.prod(shape)))
        self.kept[name] = np.fromfile(self._raw, "<f4", math.prod(shape)).reshape(shape)
        return self.kept[name]

    def _parts(self, size: int) -> Iterator[bytes]:
        for at in range(0, size, PART):
            yield self._raw.read(min(PART, size - at))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _checked_shape(file: Any, name: str, graph: Graph) -> tuple[int, ...]:
    """The shape of a tensor of an open file, once its header says that it fits."""
    if name not in graph.parameters:
        raise ValueError(f"it holds '{name}', which is no parameter of its graph")
    header, shape = file.get_slice(name), graph.parameters[name].shape
    if tuple(header.get_shape()) != tuple(shape) or header.get_dtype() != "F32":
        raise ValueError(f"'{name}' is {header.get_dtype()} {header.get_shape()}, not F32 {list(shape)}")
    return tuple(shape)


def refuse_long_header(path: Path) -> None:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_HEADER:
        raise ValueError(f"its header has {size} bytes")
