"""Forgetting a subject on request: what holds afterwards depends on whether the store is encrypted.

Encrypted, with the root key kept outside: the subject's key is gone and the root rotated, so nothing of the subject
can be read again from any copy of the files, at once, on any medium; the dead records are reclaimed as others are.
In the clear: every file with a record of the subject is rewritten without it and the old file overwritten and
removed. A wear-levelled card may still hold old pages that no file shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .aside import blank
from .errors import BadRecord, StoreDamaged, io_error
from .files import changes
from .jsonfile import read_json, write_json
from .naming import Naming
from .scrub import Scrub
from .sets import union
from .whole import sweep

FILE = "forgotten.json"  # beside the index, which may have to be rebuilt
KEY_DROPPED, OVERWRITTEN = "key dropped", "overwritten"
_NO_IDS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Forgotten:
    """Receipt of a `forget`: subject, ids that were on flash, files rewritten, time (s since the epoch), and what
    holds: ``key dropped`` or ``overwritten`` (see this module's text). It speaks of samples below an id, in the store
    of this id, which lay in ``place``; `audit` looks whether that is so.
    """

    subject: int
    ids: np.ndarray
    time: float
    holds: str
    files: list[str] = field(default_factory=list)
    below: int = 0
    store: str = ""
    place: str = ""


class Note(NamedTuple):
    """A request as it stands on flash: ids below ``below`` of ``subject``; ``live``: samples that all requests for it
    took out.
    """

    subject: int
    below: int
    time: float
    done: bool
    live: int = 0


class Forgetting(Naming):
    """Takes a subject's samples out of the store."""


    @changes
    def forget(self, subject: int) -> Forgotten:
        """Removes every sample and field value of ``subject`` stored so far; a crash or an error meanwhile does not
        bring them back: the next opening ends what was begun, or `unended` says that it could not. Samples of the
        subject that arrive later are kept.
        """
        assert self._flusher is not None
        whole = isinstance(subject, (int, np.integer)) and not isinstance(subject, bool)
        if not whole or not 0 <= subject < 2**31:
            raise BadRecord(f"{subject} is no subject.", "Subjects are whole numbers from 0.")
        subject = int(subject)
        with self._lock:
            self._flusher.flush()
            now, below = time.time(), self._index.physical_next
            live = self._forgotten_before(subject) + len(self._index.ids_of_subject(subject))
            # From here on the records are never served again, whatever happens.
            self._note(subject, below, now, live, done=False)
            gone = self._index.forget(subject, below)
            try:
                holds, ids, files = self._erase(subject, below)
                self._note(subject, below, now, live, done=True)
            except BaseException as error:  # it was begun: what follows has to know
                raise self._give_up(error) from error
            self._unended.discard(subject)
            ids, store = union(gone, ids), self._description.store.hex()
            return Forgotten(subject, ids, now, holds, files, below, store, str(self.path))

    @property
    def unended(self) -> list[int]:
        """Subjects whose records are not served any more and still stand on flash: ending that failed. Forget them
        again once the device reads and has room.
        """
        self._here()
        return sorted(self._unended)

    @changes
    def note_forgotten(self, notes: Iterable[tuple[int, float]]) -> None:
        """What another store, whose samples this one has taken over, was asked to forget: (subject, time) each."""
        for subject, at in notes:
            self._note(subject, 0, at, 0, done=True)

    def forgotten(self) -> list[tuple[int, float]]:
        """(subject, time) of every `forget` so far."""
        self._check()
        return [(n.subject, n.time) for n in self._notes()]

    @property
    def forgotten_count(self) -> int:
        """Samples that were live when they were forgotten."""
        return sum(n.live for n in self._notes())

    def _forgotten_before(self, subject: int) -> int:
        return sum(n.live for n in self._notes() if n.subject == subject)

    def _erase(self, subject: int, below: int, ended: bool = False) -> tuple[str, np.ndarray, list[str]]:
        """What holds then, the ids whose records were overwritten, the files that were rewritten. ended: it had been
        done before, and what the subject brought since is kept."""
        sweep(self.path, "*")
        if self._sealing is not None:
            self._sealing.keys.drop(subject)
            named = self._forget_names(subject, below if ended else None)
            self._cleaner.tidy()
            return KEY_DROPPED, _NO_IDS, named
        named = self._forget_names(subject, below if ended else None)
        ids, names = Scrub(self, lambda ids, subjects: (subjects == subject) & (ids < below)).run()
        return OVERWRITTEN, ids, [*names, *named, *blank(self.path, self._codec.variable, subject, below)]

    def _notes(self) -> list[Note]:
        path = self.path / FILE
        try:
            if not path.exists():
                return []
            return [Note(int(s), int(b), float(t), bool(d), *map(int, n)) for s, b, t, d, *n in read_json(path)]
        except OSError as error:
            raise io_error(error, f"'{path}' cannot be read") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreDamaged(f"'{path}' cannot be read: {error}.", "Restore it from a copy of the store.") from error

    def _note(self, subject: int, below: int, at: float, live: int, done: bool) -> None:
        notes = [n for n in self._notes() if n.subject != subject]
        write_json(self.path / FILE, [*notes, Note(subject, below, at, done, live)])

    def _forget_again(self, stray: Callable[[Note], bool]) -> list[Note]:
        """At an opening: takes the records of forgotten subjects out again. Requests that have to be ended: unended
        ones, and those whose records an older version, a copy or a crash brought back.
        """
        found = [(note, self._index.forget(note.subject, note.below)) for note in self._notes()]
        clear = self._sealing is None
        return [note for note, ids in found if not note.done or (clear and (len(ids) or stray(note)))]

    def _end_forgetting(self, notes: list[Note]) -> None:
        """Raises what kept it from being ended; the store has to be loaded again then."""
        for note in notes:
            self._erase(note.subject, note.below, note.done)
            self._note(note.subject, note.below, note.time, note.live, done=True)
