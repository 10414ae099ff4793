"""Borders: where in the store one task ends and the next begins, noted there before the first record behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..storage import SampleStore
from ..storage.bounded import parse_json

Array = np.ndarray
_KEY = "tasks"
_MOST = 64  # borders kept before the oldest record that an earlier saved state does not know


class Stretch(NamedTuple):
    """Records of one task: how many borders lie before them, the task's name, their ids."""

    number: int
    name: str | None
    ids: Array


class Borders:
    """count : borders noted in the store's life; a saved state says how many it knows"""

    def __init__(self, store: SampleStore | None) -> None:
        self._store = store
        found = None if store is None else store.meta_get(_KEY)
        saved: Mapping[str, Any] = {"count": 0, "noted": []} if found is None else parse_json(found)
        self.count = int(saved["count"])
        self._noted: list[tuple[int, str | None]] = [(int(i), None if n is None else str(n)) for i, n in saved["noted"]]
        self._first = None if saved.get("first") is None else str(saved["first"])  # name before the oldest one kept
        self._known = [0, 0]  # next ids of the two newest saved states

    def end(self, name: str | None) -> None:
        """The task ``name`` begins with the next record."""
        if self._store is not None:
            self._note([*self._noted, (self._store.next_id, name)], self._first, self.count + 1)

    def name(self, name: str) -> None:
        """The task at hand gets its name."""
        if self._store is None:
            return
        if self._noted:
            self._note([*self._noted[:-1], (self._noted[-1][0], name)], self._first, self.count)
        else:
            self._note([], name, self.count)

    def _note(self, noted: list[tuple[int, str | None]], first: str | None, count: int) -> None:
        assert self._store is not None
        known = min(self._known)
        old = sum(at < known for at, _ in noted) - _MOST
        if old > 0:
            first, noted = noted[old - 1][1], noted[old:]
        text = json.dumps({"count": count, "first": first, "noted": noted}).encode()
        self._store.meta_set({_KEY: text})
        self._noted, self._first, self.count = noted, first, count

    def load(self, count: int) -> None:
        """Go on from a state that knows ``count`` borders, more than those of its store if that was made anew."""
        self.count = max(self.count, count)

    def saved(self, next_id: int) -> None:
        """A state was saved that knows the records before ``next_id``."""
        self._known = [self._known[1], next_id]

    def stretches(self, ids: Array) -> list[Stretch]:
        """Ascending record ids, task by task."""
        places = np.array([at for at, _ in self._noted], np.int64)
        cuts = [0, *np.searchsorted(ids, places).tolist(), len(ids)]
        names = [self._first, *(name for _, name in self._noted)]
        before = self.count - len(self._noted)
        found = [Stretch(before + k, names[k], ids[a:b]) for k, (a, b) in enumerate(pairwise(cuts))]
        return [s for s in found if len(s.ids)]
