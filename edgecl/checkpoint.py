"""Checkpoints: safetensors plus JSON metadata, two generations, a checksum decides which one is good.

Promise: `save` returns when the state is on flash; a crash at any moment leaves the generation before it
    whole.
Caveat: the whole state is written each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as safetensors_arrays
from safetensors.numpy import save as safetensors_bytes

from .checksums import bytes_of, checksum
from .errors import BadInput, EdgeclError
from .storage.bounded import parse_json
from .storage.whole import OWN, make_folder, overwrite, sync_directory, temporary
from .storage.whole import sweep as overwrite_left

FORMAT = 1
_NAMES = ("checkpoint-a.safetensors", "checkpoint-b.safetensors")
_GONE = ".gone"  # what is overwritten next
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


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
    """The newest good state in ``folder``, or None when there is none. A damaged file is passed over; one that the
    device does not give is not: raises `EdgeclError`.
    """
    folder = Path(folder)
    with suppress(OSError):  # of a folder one may only read
        restore(folder)
    paths = sorted((folder / n for n in _NAMES), key=_generation, reverse=True)
    for path in paths:
        if path.exists() and (state := read_sound(path)) is not None:
            return state
    return None


def write(path: Path, state: Mapping[str, Any], generation: int = 0) -> None:
    """One file, readable by its owner alone, written to a name of its own, flushed, renamed, its folder flushed."""
    _write(path, state, generation, os.replace)


def rewrite(path: Path, state: Mapping[str, Any]) -> None:
    """`write` of the same generation; the old file is overwritten with zeros before it goes. Whatever dies meanwhile,
    the old state or the new one is there, and `sweep` ends what was begun. Needs no hard links.
    """

    def replace(new: str, old: Path) -> None:
        os.replace(old, _gone(old))
        os.replace(new, old)

    _write(path, state, _generation(path), replace)
    try:
        overwrite(_gone(path))
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, state: Mapping[str, Any], generation: int, replace: Callable[[str, Path], None]) -> None:
    arrays: dict[str, np.ndarray] = {}
    tree = _split(state, "", arrays)
    about = json.dumps({"format": FORMAT, "generation": generation, "state": tree})
    try:
        make_folder(path.parent)
        _sweep_of(path)
        write_tensors(path, arrays, {"edgecl": about, "sha256": checksum(about, arrays)}, OWN, replace)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_tensors(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    mode: int | None = None,
    replace: Callable[[str, Path], None] = os.replace,
) -> None:
    """A safetensors file, written to a name of its own, flushed, renamed, its folder flushed. mode: None is the
    umask's. Raises `OSError`, with nothing half-written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path, mode) as (fd, name):
        _write_safetensors(fd, arrays, metadata)
        os.fsync(fd)
        replace(name, path)
    sync_directory(path.parent)


def _unwritable(path: Path, error: OSError) -> EdgeclError:
    return EdgeclError(
        f"The state cannot be written to {path.parent}: {error.strerror or error}.",
        "Free some space, or choose another folder.",
    )


def sweep(folder: Path) -> list[Path]:
    """Ends what a process that died left in a folder of saved states: half-written files, of whatever generation and
    writer, and states that were being overwritten. For the one who writes there. The files that went.
    """
    try:
        restore(folder)
        gone = list(folder.glob(f"*.safetensors{_GONE}"))
        for path in gone:
            overwrite(path)
        return gone + overwrite_left(folder, "*.safetensors*")
    except OSError as error:
        raise _unwritable(folder / _NAMES[0], error) from error


def restore(folder: Path) -> None:
    """A state whose replacement was not there yet when its process died is back under its name."""
    for left in folder.glob(f"*.safetensors{_GONE}"):
        path = left.with_name(left.name.removesuffix(_GONE))
        if not path.exists():
            os.replace(left, path)


def _sweep_of(path: Path) -> None:
    restore(path.parent)
    overwrite_left(path.parent, path.name + "*")
    if _gone(path).exists():
        overwrite(_gone(path))


def _gone(path: Path) -> Path:
    return path.with_name(path.name + _GONE)


def _write_safetensors(fd: int, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """The format of safetensors, into an open file: the library opens names of its own, which a crash leaves."""
    header: dict[str, Any] = {"__metadata__": dict(about)}
    names, at = sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)), 0
    for name in names:
        array = arrays[name]
        header[name] = {
            "dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]
        }  # fmt: skip
        at += array.nbytes
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    for block in (len(text).to_bytes(8, "little"), text, *(bytes_of(arrays[n]) for n in names)):
        view = memoryview(block)  # type: ignore[arg-type]
        while view:
            view = view[os.write(fd, view[: 1 << 24]) :]


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
        content = parse_json(about)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        return dict(_join(content["state"], arrays))
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise EdgeclError(
            f"{path} is not a good saved state: {error}.", "Use the other generation or a backup."
        ) from error


def read_sound(path: Path) -> dict[str, Any] | None:
    """The state in one file; None for one that is damaged. Raises `EdgeclError` when the device does not give it: what
    could not be read may be sound, and nobody may remove it for that.
    """
    try:
        return read(path)
    except EdgeclError as error:
        if isinstance(error.__cause__, OSError):
            raise
    try:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
        return read(path)
    except OSError as error:
        raise _not_given(path, error) from error
    except EdgeclError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return None


def generations(folder: Path) -> list[Path]:
    """The files in ``folder`` that may hold a state."""
    return [path for path in (folder / n for n in _NAMES) if path.exists()]


def _generation(path: Path) -> int:
    """The file's number from its header, 0 when there is no readable one (so it is overwritten first). Raises
    `EdgeclError` when the device does not give it: it may be the newest.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > os.fstat(file.fileno()).st_size:
                return 0
            header = parse_json(file.read(length))
        return int(parse_json(header["__metadata__"]["edgecl"])["generation"])
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _not_given(path, error) from error
    except (ValueError, KeyError, TypeError):
        return 0


def _not_given(path: Path, error: OSError) -> EdgeclError:
    return EdgeclError(f"{path} cannot be read: {error.strerror}.", "Check the device, then try again.")


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
        header = parse_json(block[8 : 8 + int.from_bytes(block[:8], "little")])
        return dict(_join(parse_json(header["__metadata__"]["edgecl"]), safetensors_arrays(block)))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise EdgeclError(f"A saved state cannot be read: {error}.", "Use a backup.") from error
