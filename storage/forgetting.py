"""Forgetting a subject on request: what holds afterwards depends on whether the store is encrypted.

Encrypted, with the root key kept outside: the subject's key is gone and the root rotated, so nothing of the subject
can be read again from any copy of the files, at once, on any medium; the dead records are reclaimed as others are.
In the clear: every file with a record of the subject is rewritten without it and the old file overwritten and
removed. A wear-levelled card may still hold old pages that no file shows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from .errors import BadRecord, StoreDamaged
from .files import typed
from .jsonfile import read_json, write_json
from .writing import Writing

FILE = "forgotten.json"  # beside the index, which may have to be rebuilt
KEY_DROPPED, OVERWRITTEN = "key dropped", "overwritten"


@dataclass(frozen=True)
class Forgotten:
    """Receipt of a `forget`: subject, ids that were on flash, files rewritten, time (s since the epoch), and what
    holds: ``key dropped`` or ``overwritten`` (see this module's text).
    """

    subject: int
    ids: np.ndarray
    time: float
    holds: str
    files: list[str] = field(default_factory=list)


class Forgetting(Writing):
    """Takes a subject's samples out of the store."""

    @typed
    def forget(self, subject: int) -> Forgotten:
        """Removes every sample and field value of ``subject`` stored so far; a crash meanwhile does not bring
        them back: the next opening ends what was begun. Samples of the subject that arrive later are kept.
        """
        self._check(write=True)
        assert self._flusher is not None
        if not 0 <= subject < 2**31:
            raise BadRecord(f"{subject} is no subject.", "Subjects are whole numbers from 0.")
        with self._lock:
            self._flusher.flush()
            now, below = time.time(), self._index.physical_next
            # From here on the records are never served again, whatever happens.
            self._note(subject, below, now, done=False)
            ids = self._index.forget(subject, below)
            receipt = Forgotten(subject, ids, now, *self._erase(subject, ids))
            self._note(subject, below, now, done=True)
            return receipt

    def forgotten(self) -> list[tuple[int, float]]:
        """(subject, time) of every `forget` so far."""
        self._check()
        return [(subject, at) for subject, _, at, _ in self._notes()]

    def _erase(self, subject: int, ids: np.ndarray) -> tuple[str, list[str]]:
        if self._sealing is not None:
            self._sealing.keys.drop(subject)
            self._cleaner.after_seal()
            return KEY_DROPPED, []
        return OVERWRITTEN, self._cleaner.scrub(ids) if len(ids) else []

    def _notes(self) -> list[tuple[int, int, float, bool]]:
        path = self.path / FILE
        if not path.exists():
            return []
        try:
            return [(int(s), int(b), float(t), bool(d)) for s, b, t, d in read_json(path)]
        except (ValueError, TypeError) as error:
            raise StoreDamaged(f"'{path}' cannot be read: {error}.", "Restore it from a copy of the store.") from error

    def _note(self, subject: int, below: int, at: float, done: bool) -> None:
        notes = [n for n in self._notes() if n[0] != subject]
        write_json(self.path / FILE, [*notes, (subject, below, at, done)])

    def _forget_again(self) -> list[tuple[int, int, float, np.ndarray]]:
        """At an opening: records of forgotten subjects that still stand in a file; those of unended requests."""
        unended = []
        for subject, below, at, done in self._notes():
            ids = self._index.forget(subject, below)
            if not done:
                unended.append((subject, below, at, ids))
        return unended
