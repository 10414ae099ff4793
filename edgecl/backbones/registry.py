"""Backbones by name, and their weights in the cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..folders import cache_path
from ..network import SUFFIX, Keep, Network
from ..registry import Registry
from .base import Known
from .efficientnet import LITE0

BACKBONES: Registry[Known] = Registry("backbone", "edgecl.backbones")
BACKBONES.register(LITE0)


def backbone_name(name: str, raw: Any) -> str:
    """A name that `edgecl models` lists, a ``.edgecl`` file (its absolute path), or what a configuration calls a
    network that was given as a value."""
    value = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadInput(f"{name} is {raw!r}.", f"Give {', '.join(BACKBONES)} or FILE.edgecl.")
    if value.endswith(SUFFIX):
        return os.path.abspath(value)
    if value not in BACKBONES and "@" not in value:
        raise BadInput(
            f"'{value}' is no known backbone.",
            f"Known: {', '.join(BACKBONES)}; or a .edgecl file, which `edgecl import` makes of an ONNX file.",
        )
    return value


backbone_name.metavar = lambda: "|".join([*BACKBONES, "FILE.edgecl"])  # type: ignore[attr-defined]


def weights_file(name: str) -> Path:
    """Where the weights of a known backbone lie once they were fetched."""
    return Path(cache_path()) / "models" / f"{name}{SUFFIX}"


def _present(path: str) -> str:
    """The file, or one of its name among the models of the cache folder: a saved state may be opened elsewhere, and
    holds the digest."""
    elsewhere = Path(cache_path()) / "models" / os.path.basename(path)
    if not os.path.isfile(path) and not elsewhere.is_file():
        raise BadInput(f"There is no network '{path}'.", f"Check the path, or put the file into {elsewhere.parent}.")
    return path if os.path.isfile(path) else str(elsewhere)


def network_of(name: str, shape: tuple[int, ...], dtype: str, keep: Keep | None = None) -> Network:
    """The backbone that `backbone_name` allowed, a known one for samples of ``shape``. Raises `BadInput`.

    keep : as in `Network.load`
    """
    if name.endswith(SUFFIX):
        return Network.load(_present(name), keep)
    if name not in BACKBONES:
        raise BadInput(f"The backbone '{name}' was given as a value.", "Give it again, or its .edgecl file.")
    known, path = BACKBONES.get(name), weights_file(name)
    if dtype != known.dtype or len(shape) != len(known.shape) or shape[0] != known.shape[0]:
        raise BadInput(
            f"The backbone '{name}' takes {known.dtype} samples such as {known.shape}, not {dtype} of {shape}.",
            "Give such samples; --backbone-size brings grey pictures or those of other sizes to what it takes.",
        )
    if not path.is_file():
        raise BadInput(
            f"The weights of '{name}' are not here ({path}).",
            f"Fetch them: edgecl models get {name} ({known.download / 1e6:.0f} MB, {known.licence}).",
        )
    graph = known.build(shape)
    held = Network.load(path, keep and (lambda _, about: keep(graph, about)))
    return Network(graph, held.weights, held.about)
