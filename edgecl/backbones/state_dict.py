"""Weights out of a file of torch.save, without torch and without unpickling.

The file of before 2020 is a row of pickles and then the storages' bytes. Only names, numbers and the layout of tensors
are copied out (`plain_pickle`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import BadInput
from ..plain_pickle import PLAIN, PlainPickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_BYTES, MOST_OPCODES = 1 << 29, 200_000
REMEDY = "Give the file as its package holds it."
KINDS: dict[str, Any] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}


@dataclass
class _Storage:
    """One storage: where its bytes will stand is known once the file says the order."""

    key: str
    dtype: Any
    size: int


@dataclass
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """float32 tensors by name; whole-number ones (counters) are left out. Raises `BadInput`."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _refused("it is larger than 512 MB")
        with open(path, "rb") as raw:
            file = _Bounded(raw, size)
            if _pickle(file) != MAGIC or _pickle(file) != PROTOCOL:
                raise _refused("it is no file of torch.save in its format of before 2020")
            if _pickle(file).get("little_endian") is not True:
                raise _refused("its numbers are not little-endian")
            tensors, keys = _pickle(file), _pickle(file)
            return _read_tensors(file, tensors, keys)
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read: {error.strerror}.", REMEDY) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, BadInput):
            raise
        raise _refused(f"its structure is damaged ({type(error).__name__}: {error})") from error


def _read_tensors(file: _Bounded, tensors: Any, keys: Any) -> dict[str, np.ndarray]:
    """Every float tensor; no length of the file is believed before it is read."""
    if not isinstance(tensors, dict) or not all(isinstance(v, _Tensor) for v in tensors.values()):
        raise _refused("it holds something other than tensors by name")
    storages = {t.storage.key: t.storage for t in tensors.values()}
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise _refused("its list of storages is not that of its tensors")
    held: dict[str, np.ndarray] = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(file.read(8), "little")
        length = count * storage.dtype.itemsize
        if count != storage.size:
            raise _refused(f"a storage of {storage.size} values has {count}")
        held[key] = np.frombuffer(file.read(length), storage.dtype)
    found = {}
    for name, t in tensors.items():
        if t.storage.dtype.kind == "f":
            found[name] = _laid_out(t, held[t.storage.key])
    return found


def _laid_out(t: _Tensor, values: np.ndarray) -> np.ndarray:
    """A tensor in C order out of its storage, in which its axes may lie in any order."""
    if len(t.stride) != len(t.shape) or len(t.shape) > 8 or min(t.shape, default=1) < 1:
        raise _refused(f"a tensor has shape {t.shape} and strides {t.stride}")
    last = t.offset + sum((n - 1) * s for n, s in zip(t.shape, t.stride))
    if last >= len(values) or math.prod(t.shape) > len(values):
        raise _refused("a tensor does not lie in its storage")
    steps = [s * values.itemsize for s in t.stride]
    return np.array(np.lib.stride_tricks.as_strided(values[t.offset :], t.shape, steps), np.float32, order="C")


class _Bounded:
    """A file of which no more is read than there is: a length out of the file may say anything."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, n: int, /) -> bytes:
        if not 0 <= n <= self._size - self._file.tell():
            raise ValueError(f"{n} bytes are more than there are")
        return self._file.read(n)


class _Pickle(PlainPickle):
    """One of the pickles of such a file: tensors as parts of storages that lie behind it."""

    opcodes = PLAIN | {"LONG1", "TUPLE1", "TUPLE2", "TUPLE3", "BINPERSID"}
    most = MOST_OPCODES

    def refused(self, why: str) -> BadInput:
        return _refused(why)

    def persistent(self, about: Any) -> _Storage:
        return _storage(about)

    def called(self, name: str, args: Any) -> Any:
        return _made(name, args)


def _pickle(stream: _Bounded) -> Any:
    """The next pickle of the stream."""
    return _Pickle().read(stream)


def _storage(about: Any) -> _Storage:
    """Of ('storage', kind, key, device, size, view)."""
    kind, name, key, _, size, view = about
    if kind != "storage" or view is not None or name.name not in KINDS or not isinstance(key, str):
        raise _refused("it holds a storage of another kind")
    if type(size) is not int or not 0 <= size <= MOST_BYTES // 4:
        raise _refused(f"a storage has {size} values")
    return _Storage(key, KINDS[name.name], size)


def _made(name: str, args: Any) -> Any:
    """What one of the two calls that a state dict consists of would have made."""
    if name == "collections OrderedDict" and not args:
        return {}
    if name == "torch._utils _rebuild_tensor_v2":
        storage, offset, shape, stride = args[:4]
        whole = (offset, *shape, *stride)
        if not isinstance(storage, _Storage) or not all(type(n) is int and 0 <= n <= MOST_BYTES for n in whole):
            raise _refused("a tensor is no part of a storage")
        return _Tensor(storage, offset, tuple(shape), tuple(stride))
    raise _refused(f"it would call '{name}'")


def _refused(why: str) -> BadInput:
    return BadInput(f"The weights cannot be read: {why}.", REMEDY)
