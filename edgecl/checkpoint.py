"""Checkpoints: safetensors plus JSON metadata, two generations, a checksum decides which one is good.

Promise: `save` returns when the state is on flash; a crash at any moment leaves the generation before it
    whole.
Caveat: the whole state is written each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as safetensors_arrays
from safetensors.numpy import save as safetensors_bytes
from safetensors.numpy import save_file

from .errors import BadInput, EdgeclError

FORMAT = 1
_NAMES = ("checkpoint-a.safetensors", "checkpoint-b.safetensors")


def save(folder: str | Path, state: Mapping[str, Any]) -> Path:
    """Write ``state`` (nested dicts and lists of plain values and numpy arrays, string keys) beside the
    newest generation, over the oldest. Returns the file.
    """
    folder = Path(folder)
    generations = {path: _generation(path) for path in (folder / n for n in _NAMES)}
    oldest = min(generations, key=lambda path: generations[path])
    write(oldest, state, generation=max(generations.values()) + 1)
    return oldest


def load(folder: str | Path) -> dict[str, Any] | None:
    """The newest good state in ``folder``, or None when there is none. A damaged file is passed over."""
    folder = Path(folder)
    paths = sorted((folder / n for n in _NAMES), key=_generation, reverse=True)
    for path in paths:
        if path.exists():
            try:
                return read(path)
            except EdgeclError:
                continue
    return None


def write(path: Path, state: Mapping[str, Any], generation: int = 0) -> None:
    """One file, written to a temporary name, flushed, renamed, its folder flushed."""
    arrays: dict[str, np.ndarray] = {}
    tree = _split(state, "", arrays)
    about = json.dumps({"format": FORMAT, "generation": generation, "state": tree})
    try:
        write_tensors(path, arrays, {"edgecl": about, "sha256": checksum(about, arrays)})
    except (OSError, SafetensorError) as error:
        raise EdgeclError(
            f"The state cannot be written to {path.parent}: {getattr(error, 'strerror', None) or error}.",
            "Free some space, or choose another folder.",
        ) from error


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """A safetensors file, written to a temporary name, flushed, renamed, its folder flushed. Raises `OSError` or
    `SafetensorError`, with nothing half-written."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(arrays), temporary, metadata)
        for target in (temporary, path.parent):
            if target == path.parent:
                os.replace(temporary, path)
            fd = os.open(target, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    except (OSError, SafetensorError):
        with suppress(OSError):
            temporary.unlink()
        raise


def read(path: str | Path) -> dict[str, Any]:
    """The state in one file. Raises `EdgeclError` when it is missing, damaged or not ours."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no saved state at {path}.", "Check the path.")
    try:
        with safe_open(path, "numpy") as file:
            about = (file.metadata() or {}).get("edgecl", "")
            digest = (file.metadata() or {}).get("sha256", "")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if digest != checksum(about, arrays):
            raise ValueError("its checksum does not match")
        content = json.loads(about)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        return _join(content["state"], arrays)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise EdgeclError(
            f"{path} is not a good saved state: {error}.", "Use the other generation or a backup."
        ) from error


def generations(folder: Path) -> list[Path]:
    """The files in ``folder`` that may hold a state."""
    return [path for path in (folder / n for n in _NAMES) if path.exists()]


def _generation(path: Path) -> int:
    """The file's number from its header, 0 when there is no readable one (so it is overwritten first)."""
    try:
        with safe_open(path, "numpy") as file:
            return int(json.loads((file.metadata() or {})["edgecl"])["generation"])
    except (SafetensorError, ValueError, KeyError, OSError, TypeError):
        return 0


def checksum(about: str, arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over a text and arrays by name, dtype, shape and bytes: 64 hex digits."""
    sha = hashlib.sha256(about.encode())
    for name in sorted(arrays):
        a = arrays[name]
        sha.update(f"{name}{a.dtype.str}{a.shape}".encode())
        sha.update(np.ascontiguousarray(a).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _split(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree with arrays moved to ``arrays`` and a reference in their place."""
    if isinstance(value, np.ndarray):
        key = name or "array"
        arrays[key] = np.asarray(value, order="C")  # no second copy: a state is not changed while it is written
        return {"@array": key}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("@"):
                raise TypeError(f"Key {key!r} at '{name}' of a state is not a plain string.")
        return {k: _split(v, f"{name}/{k}" if name else k, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"A {type(value).__name__} at '{name}' cannot be saved.")


def _join(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"@array"}:
            return arrays[value["@array"]]
        return {k: _join(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [_join(v, arrays) for v in value]
    return value


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """A state as one block of bytes (safetensors)."""
    arrays: dict[str, np.ndarray] = {}
    about = json.dumps(_split(state, "", arrays))
    return safetensors_bytes(arrays, {"edgecl": about})


def from_bytes(block: bytes) -> dict[str, Any]:
    """The inverse of `to_bytes`. Raises `EdgeclError`."""
    try:
        header = json.loads(block[8 : 8 + int.from_bytes(block[:8], "little")])
        return _join(json.loads(header["__metadata__"]["edgecl"]), safetensors_arrays(block))
    except (SafetensorError, ValueError, KeyError) as error:
        raise EdgeclError(f"A saved state cannot be read: {error}.", "Use a backup.") from error
