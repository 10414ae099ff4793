"""CallLog: what a learner was asked to do, in order, so that it can be done again without a subject's samples.

It is part of the saved state, so the two never disagree. Samples are named by their ids in the store. What a clock, a
load or a caller in another thread decided stands beside the call it belongs to: the steps after which a `learn` was
ended early, and the steps that a running `learn` had done when samples arrived.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..storage.trusted import require

OBSERVED, STORED, LEARNED, TASK_ENDED, FORGOT, UNSTORED, FOUND, LABELLED, REMOVED = range(9)
OF_IDS = (OBSERVED, STORED, FOUND)  # in the order of their ids
MOST = 65_536  # entries; beyond it the older half goes (17 bytes each in RAM, about 8 in every saved state)
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
    classes, labels : head units and labels when the learner was made
    weights : (path, sha256) of the file it started from, or None
    """

    def __init__(
        self, classes: int = 0, labels: list[str | int | None] | None = None, weights: tuple[str, str] | None = None
    ) -> None:
        self.classes, self.labels, self.weights = classes, list(labels or []), weights
        self.first = 0
        self.next_id = 0
        self.subjects: set[int] = set()
        self._closed = 0  # calls below this number grow no more
        self._entries = bytearray()  # grows by whole entries, so that an interrupt leaves no part of one

    @property
    def end(self) -> int:
        """The number of the next call."""
        return self.first + len(self._entries) // _ENTRY.size

    def add(self, call: Call) -> int:
        """Its number. Samples that follow on those of the call before become part of it."""
        self._add(call)
        if call.kind in OF_IDS:
            self.next_id = call.a + call.b
        if self.end - self.first > MOST:
            gone = MOST // 2
            self.__dict__.update(first=self.first + gone, _entries=self._entries[gone * _ENTRY.size :])
        return self.end - 1

    def _add(self, call: Call) -> None:
        if call.kind in OF_IDS and self.end > max(self.first, self._closed):
            last = self[self.end - 1]
            follows = (last.kind, last.c, last.a + last.b) == (call.kind, call.c, call.a)
            if follows and last.b + call.b <= _LONGEST:
                self._put(self.end - 1, last._replace(b=last.b + call.b))
                return
        self._entries += _ENTRY.pack(*call)

    def _put(self, number: int, call: Call) -> None:
        _ENTRY.pack_into(self._entries, (number - self.first) * _ENTRY.size, *call)

    def ended_after(self, number: int, steps: int) -> None:
        """A `learn` that was ended early, after so many steps."""
        if number >= self.first:
            _C.pack_into(self._entries, (number + 1 - self.first) * _ENTRY.size - _C.size, steps)  # after each step

    def __getitem__(self, number: int) -> Call:
        return Call(*_ENTRY.unpack_from(self._entries, (number - self.first) * _ENTRY.size))

    def since(self, number: int) -> list[Call]:
        """The calls from ``number`` on, which it must still hold; none of them grows any more."""
        self._closed = self.end
        return [self[n] for n in range(number, self.end)]

    def renumbered(self, ids: np.ndarray) -> None:
        """Samples have other ids from now on: ``ids``, ascending, were the ones that are 0, 1, 2 ... now. Samples
        that are none of these leave the log.
        """
        fresh = bytearray()
        for call in (self[n] for n in range(self.first, self.end)):
            if call.kind in (*OF_IDS, LABELLED):
                low, high = (int(k) for k in np.searchsorted(ids, (call.a, call.a + call.b)))
                call = Call(call.kind, low, high - low, call.c)
            fresh += _ENTRY.pack(*call)
        self.__dict__.update(_entries=fresh, next_id=len(ids))

    def cut(self) -> None:
        """Hold no call so far: what they name is no longer there."""
        self.__dict__.update(first=self.end, _entries=bytearray())

    def state(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "labels": self.labels,
            "weights": self.weights,
            "first": self.first,
            "next_id": self.next_id,
            "subjects": np.array(sorted(self.subjects), np.int32),
            **{f"entries_{name}": _narrow(self._rows[name]) for name in Call._fields},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.classes, self.labels = int(state["classes"]), list(state["labels"])
        self.weights = None if state["weights"] is None else (state["weights"][0], state["weights"][1])
        self.first, self.next_id = int(state["first"]), int(state["next_id"])
        self.subjects = set(state["subjects"].tolist())
        columns = entries_of(state)
        kinds = (np.iinfo(_ROWS[name]) for name in Call._fields)
        within = [k.min <= v.min() and v.max() <= k.max for v, k in zip(columns, kinds) if v.size]
        require(all(within), "'calls' has values out of bounds")
        rows = np.empty(len(columns[0]), _ROWS)
        for name, column in zip(Call._fields, columns):
            rows[name] = column
        self._entries = bytearray(rows.tobytes())

    @property
    def _rows(self) -> np.ndarray:
        return np.frombuffer(bytes(self._entries), _ROWS)


def entries_of(state: Mapping[str, Any]) -> list[np.ndarray]:
    """kind, a, b and c of the calls in a saved log, of this version or an earlier one."""
    if "entries" in state:
        return list(np.asarray(state["entries"], np.int64).reshape(-1, 4).T)
    columns = [np.asarray(state[f"entries_{name}"]) for name in Call._fields]
    fits = all(c.ndim == 1 and c.dtype.kind in "iu" and len(c) == len(columns[0]) for c in columns)
    require(fits, "'calls' is of several lengths")
    return columns


def _narrow(column: np.ndarray) -> np.ndarray:
    """As an array of the smallest type that holds every value: it is a part of every saved state."""
    values = column.astype(np.int64)
    ends = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds = (np.int8, np.int16, np.int32, np.int64)
    return values.astype(next(k for k in kinds if np.iinfo(k).min <= ends[0] and ends[1] <= np.iinfo(k).max))
