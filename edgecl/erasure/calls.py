"""CallLog: what a learner was asked to do, in order, so that it can be done again without a subject's samples.

It is part of the saved state, so the two never disagree. Samples are named by their ids in the store. What a clock, a
load or a caller in another thread decided stands beside the call it belongs to: the steps after which a `learn` was
ended early, and the steps that a running `learn` had done when samples arrived.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..storage.trusted import require, unfitting

OBSERVED, STORED, LEARNED, TASK_ENDED, FORGOT, UNSTORED, FOUND, LABELLED, REMOVED = range(9)
OF_IDS = (OBSERVED, STORED, FOUND)  # in the order of their ids
MOST = 65_536  # entries; beyond it the older half goes
BLOCK = 1024  # entries of a packed block: those of a life that repeats itself take about a byte each
_ENTRY = struct.Struct("<bqii")  # kind, a, b, c
_C = struct.Struct("<i")  # the last of them
_ROWS = np.dtype([("kind", "<i1"), ("a", "<i8"), ("b", "<i4"), ("c", "<i4")])  # the same for numpy
_LONGEST = 2**31 - 1  # samples of one entry
NOT_DURING = TO_ITS_END = -1


class Call(NamedTuple):
    """kind            a                b                      c
    OBSERVED           first id         samples                steps a running `learn` had done, or -1
    STORED             first id         samples                0: in the store, but never in the stream buffer
    LEARNED            epochs or 0      steps or 0             steps after which it was ended early, or -1
    TASK_ENDED         0                0                      0
    FORGOT             subject          0                      0
    UNSTORED           0                samples                0: kept in RAM only
    FOUND              first id         samples                0: in the store, new to the learner that opened it
    LABELLED           first id         samples                0: got their first label, observed without one
    REMOVED            0                samples                0
    """

    kind: int
    a: int = 0
    b: int = 0
    c: int = 0


class CallLog:
    """first : number of the oldest call it still holds (calls are numbered from 0)
    subjects : every subject observed so far, forgotten ones included
    next_id : of the store, after the last sample in the log
    classes, labels : head units, and how many of them had labels, when the learner was made
    weights : (path, sha256) of the file it started from, or None
    """

    def __init__(self, classes: int = 0, labels: int = 0, weights: tuple[str, str] | None = None) -> None:
        self.classes, self.labels, self.weights = classes, labels, weights
        self.first = 0
        self.next_id = 0
        self.subjects: set[int] = set()
        self._closed = 0  # calls below this number grow no more
        self._packed: tuple[bytes, ...] = ()  # the older ones, blocks of `BLOCK`
        self._entries = bytearray()  # grows by whole entries, so that an interrupt leaves no part of one

    @property
    def _begin(self) -> int:
        """The number of the first call that is in no packed block."""
        return self.first + len(self._packed) * BLOCK

    @property
    def end(self) -> int:
        """The number of the next call."""
        return self._begin + len(self._entries) // _ENTRY.size

    def add(self, call: Call) -> int:
        """Its number. Samples that follow on those of the call before become part of it."""
        self._add(call)
        if call.kind in OF_IDS:
            self.next_id = call.a + call.b
        self._pack()
        if self.end - self.first > MOST:
            gone = MOST // 2 // BLOCK
            self.__dict__.update(first=self.first + gone * BLOCK, _packed=self._packed[gone:])
        return self.end - 1

    def _add(self, call: Call) -> None:
        if call.kind in OF_IDS and self.end > max(self._begin, self._closed):
            last = self[self.end - 1]
            follows = (last.kind, last.c, last.a + last.b) == (call.kind, call.c, call.a)
            if follows and last.b + call.b <= _LONGEST:
                self._put(self.end - 1, last._replace(b=last.b + call.b))
                return
        self._entries += _ENTRY.pack(*call)

    def _pack(self) -> None:
        """Pack what is older than the newest `BLOCK` entries, the ones that may change."""
        size = BLOCK * _ENTRY.size
        while len(self._entries) >= 2 * size:
            block = _packed(self._entries[:size])
            self.__dict__.update(_packed=(*self._packed, block), _entries=self._entries[size:])

    def _put(self, number: int, call: Call) -> None:
        if number >= self._begin:
            _ENTRY.pack_into(self._entries, (number - self._begin) * _ENTRY.size, *call)
            return
        at, row = divmod(number - self.first, BLOCK)
        entries = _unpacked(self._packed[at])
        _ENTRY.pack_into(entries, row * _ENTRY.size, *call)
        self._packed = (*self._packed[:at], _packed(entries), *self._packed[at + 1 :])

    def ended_after(self, number: int, steps: int) -> None:
        """A `learn` that was ended early, after so many steps."""
        if number >= self._begin:  # as after each step
            _C.pack_into(self._entries, (number + 1 - self._begin) * _ENTRY.size - _C.size, steps)
        elif number >= self.first:
            self._put(number, self[number]._replace(c=steps))

    def __getitem__(self, number: int) -> Call:
        if number >= self._begin:
            return Call(*_ENTRY.unpack_from(self._entries, (number - self._begin) * _ENTRY.size))
        at, row = divmod(number - self.first, BLOCK)
        return Call(*_ENTRY.unpack_from(_unpacked(self._packed[at]), row * _ENTRY.size))

    def since(self, number: int) -> list[Call]:
        """The calls from ``number`` on, which it must still hold; none of them grows any more."""
        self._closed = self.end
        blocks = max(0, number - self.first) // BLOCK
        return list(self._calls(blocks))[number - self.first - blocks * BLOCK :]

    def _calls(self, blocks: int = 0) -> Iterator[Call]:
        """All, or those behind so many packed blocks."""
        for block in (*map(_unpacked, self._packed[blocks:]), self._entries[:]):
            yield from map(Call._make, _ENTRY.iter_unpack(block))

    def renumbered(self, ids: np.ndarray) -> None:
        """Samples have other ids from now on: ``ids``, ascending, were the ones that are 0, 1, 2 ... now. Samples
        that are none of these leave the log.
        """
        fresh = bytearray()
        for call in self._calls():
            if call.kind in (*OF_IDS, LABELLED):
                low, high = (int(k) for k in np.searchsorted(ids, (call.a, call.a + call.b)))
                call = Call(call.kind, low, high - low, call.c)
            fresh += _ENTRY.pack(*call)
        self.__dict__.update(_packed=(), _entries=fresh, next_id=len(ids))
        self._pack()

    def cut(self) -> None:
        """Hold no call so far: what they name is no longer there."""
        self.__dict__.update(first=self.end, _packed=(), _entries=bytearray())

    def state(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "labels": self.labels,
            "weights": self.weights,
            "first": self.first,
            "next_id": self.next_id,
            "subjects": np.array(sorted(self.subjects), np.int32),
            "packed": np.frombuffer(b"".join(self._packed), np.uint8),
            "packed_sizes": np.array([len(block) for block in self._packed], np.int32),
            **{f"entries_{name}": _narrow(_rows(self._entries)[name]) for name in Call._fields},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or an earlier one. Raises `BadRecord`."""
        labels = state["labels"]
        self.classes, self.labels = int(state["classes"]), len(labels) if isinstance(labels, list) else int(labels)
        self.weights = None if state["weights"] is None else (state["weights"][0], state["weights"][1])
        self.first, self.next_id = int(state["first"]), int(state["next_id"])
        self.subjects = set(state["subjects"].tolist())
        blocks = tuple(bytes(block) for block in _blocks_of(state))
        for block in blocks:
            _unpacked(block)
        entries = _open_entries(state)
        self.__dict__.update(_packed=blocks, _entries=entries)
        self._pack()


def length_of(state: Mapping[str, Any]) -> int:
    """How many calls a saved log holds, of this version or an earlier one."""
    return len(_blocks_of(state)) * BLOCK + len(_open_entries(state)) // _ENTRY.size


def _open_entries(state: Mapping[str, Any]) -> bytearray:
    """The calls of a saved log that are in no packed block."""
    if "entries" in state:
        columns = list(np.asarray(state["entries"], np.int64).reshape(-1, 4).T)
    else:
        columns = [np.asarray(state[f"entries_{name}"]) for name in Call._fields]
    fits = all(c.ndim == 1 and c.dtype.kind in "iu" and len(c) == len(columns[0]) for c in columns)
    require(fits, "'calls' is of several lengths")
    kinds = (np.iinfo(_ROWS[name]) for name in Call._fields)
    within = [k.min <= v.min() and v.max() <= k.max for v, k in zip(columns, kinds) if v.size]
    require(all(within), "'calls' has values out of bounds")
    rows = np.empty(len(columns[0]), _ROWS)
    for name, column in zip(Call._fields, columns):
        rows[name] = column
    return bytearray(rows.tobytes())


def _blocks_of(state: Mapping[str, Any]) -> list[np.ndarray]:
    """uint8 arrays, the packed blocks of a saved log; none in one of an earlier version."""
    sizes, packed = np.asarray(state.get("packed_sizes", ())), np.asarray(state.get("packed", ()))
    if not sizes.size and not packed.size:
        return []
    plain = sizes.ndim == packed.ndim == 1 and sizes.dtype.kind in "iu" and packed.dtype == np.uint8
    fits = plain and sizes.min() > 0 and sizes.max() <= packed.size and sizes.sum(dtype=np.int64) == packed.size
    require(fits, "'calls/packed_sizes' do not fit")
    return np.split(packed, np.cumsum(sizes.astype(np.int64))[:-1])


def _packed(entries: bytes | bytearray) -> bytes:
    """A block of `BLOCK` entries, byte by byte of an entry: what repeats stands together."""
    return zlib.compress(np.frombuffer(bytes(entries), np.uint8).reshape(-1, _ENTRY.size).T.tobytes())


def _unpacked(block: bytes) -> bytearray:
    """The entries of a block. Raises `BadRecord` where it is none; takes no more memory than one asks for."""
    size, stream = BLOCK * _ENTRY.size, zlib.decompressobj()
    try:
        planes = stream.decompress(block, size + 1)
    except zlib.error as error:
        raise unfitting(f"a block of 'calls/packed' cannot be unpacked ({error})") from error
    whole = len(planes) == size and stream.eof and not stream.unused_data
    require(whole, "'calls/packed' has a block of another length")
    return bytearray(np.frombuffer(planes, np.uint8).reshape(_ENTRY.size, -1).T.tobytes())


def _rows(entries: bytes | bytearray) -> np.ndarray:
    return np.frombuffer(bytes(entries), _ROWS)


def _narrow(column: np.ndarray) -> np.ndarray:
    """As an array of the smallest type that holds every value: it is a part of every saved state."""
    values = column.astype(np.int64)
    ends = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds = (np.int8, np.int16, np.int32, np.int64)
    return values.astype(next(k for k in kinds if np.iinfo(k).min <= ends[0] and ends[1] <= np.iinfo(k).max))
