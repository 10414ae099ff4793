"""Names: what the tasks of a long life were called, in a few bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..storage.trusted import require

_NAMED = b"\x01"  # before the text of a name; a task without one has no byte


class Names:
    """Names by number, from 0; None for a task that has none. UTF-8 in one block, and where each ends."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str | None:
        text = bytes(self._text[self._begin(number) : self._ends[number]])
        return text[1:].decode(errors="surrogatepass") if text else None

    def _begin(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def put(self, number: int, name: str | None) -> None:
        """The name of the last task, or of one behind it; tasks between have none."""
        self._ends.extend([self._ends[-1] if self._ends else 0] * (number - len(self)))
        begin = self._begin(number)
        self._text[begin:] = b"" if name is None else _NAMED + name.encode(errors="surrogatepass")
        self._ends[number:] = array("q", [len(self._text)])  # again, where an interrupt came between

    def find(self, name: str) -> int | None:
        """The number of the first task of this name."""
        wanted, at = _NAMED + name.encode(errors="surrogatepass"), -1
        while (at := self._text.find(wanted, at + 1)) >= 0:
            number = bisect_right(self._ends, at)
            if (self._begin(number), self._ends[number]) == (at, at + len(wanted)):
                return number
        return None

    def state(self) -> dict[str, Any]:
        used = self._ends[-1] if self._ends else 0
        return {
            "task_names": np.frombuffer(bytes(self._text[:used]), np.uint8),
            "task_name_ends": np.array(self._ends, np.int64),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Names:
        """From `state`, of this version or of one that kept a list. Raises `BadRecord`."""
        names, text = cls(), state.get("task_names", [])
        if isinstance(text, list):
            for number, name in enumerate(text):
                names.put(number, name)
            return names
        ends = np.asarray(state.get("task_name_ends"))
        plain = text.dtype == np.uint8 and text.ndim == ends.ndim == 1 and ends.dtype == np.int64
        require(plain, "'task_names' are no text")
        steps = np.diff(ends, prepend=0)
        require((steps >= 0).all() and steps.sum() == len(text), "'task_name_ends' do not fit")
        names._text, names._ends = bytearray(text.tobytes()), array("q", ends.tolist())
        try:
            whole = all(names[k] is None or names._text[names._begin(k)] == _NAMED[0] for k in range(len(names)))
        except UnicodeDecodeError:
            whole = False
        require(whole, "'task_names' are no text")
        return names
