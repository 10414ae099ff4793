"""Which files hold something of a subject, and their rewriting without it.

What counts is what stands on flash, not what is known in RAM: records that were evicted, that no index knows, and those
whose owner can no longer be told, since they are damaged or their sample is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .errors import CannotRead, StoreDamaged
from .files import field_name, segment_name
from .layout import Footer
from .recovery import Table, header_of_entry, scan, table_of_footer
from .sets import distinct

if TYPE_CHECKING:
    from .writing import Writing


class Scrub:
    """Takes records off flash; for the thread that holds the store's lock.

    theirs: which records [n] of ids and subjects go. Those whose owner cannot be told go with them.
    """

    def __init__(self, store: Writing, theirs: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._store, self._mine = store, theirs
        self._theirs: list[np.ndarray] = []  # ids that go
        self._others: list[np.ndarray] = []  # ids that are somebody else's, or nobody's

    def run(self) -> tuple[np.ndarray, list[str]]:
        """The ids that were on flash, and the files that were rewritten."""
        s = self._store
        segments = [no for no, _, _, _ in s._index.segments() if self._look(no)]
        fields = [no for no in sorted(int(k[:8], 16) for k in s._files if k.endswith(".fld")) if self._has_value(no)]
        s._cleaner.scrub(segments, fields)
        ids = distinct(np.concatenate([np.zeros(0, np.int64), *self._theirs]))
        return ids, [segment_name(no) for no in segments] + [field_name(no) for no in fields]

    def _look(self, no: int) -> bool:
        """Whether a segment has to be rewritten."""
        if no in self._store._unread:
            raise CannotRead(
                f"The device did not give all of '{segment_name(no)}' in '{self._store.path}'.", "Open the store again."
            )
        first, table = self._table(no)
        ids = first + table.rel.astype(np.int64)
        ok = table.ok.astype(bool)
        mine = ok & self._mine(ids, table.subjects)
        self._theirs.append(ids[mine])
        self._others.append(ids[ok & ~mine])
        found = [i for i, d in self._store._damaged.items() if d.file == segment_name(no)]
        return bool(mine.any() or not ok.all() or found)

    def _table(self, no: int) -> tuple[int, Table]:
        s = self._store
        if s._tail is not None and s._tail.no == no:
            return s._tail.header.first_id, Table.join(s._tail_tables)
        path = s._directory / segment_name(no)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            entry, size = s._entries[no], os.fstat(fd).st_size
            footer = Footer.read(fd, size, entry.seed)
            if footer is not None:
                return entry.first_id, table_of_footer(footer[0])
            head = header_of_entry(s._description, no, entry)
            if head is None:
                raise StoreDamaged(f"'{path}' is not what the index knows.", "Open the store again.")
            table, _, unread = scan(fd, min(entry.end, size), head, s._codec.variable)
            if unread:
                raise CannotRead(f"The device does not give all of '{path}'; it stays.", "Check the device (dmesg).")
            return entry.first_id, table
        finally:
            os.close(fd)

    def _has_value(self, no: int) -> bool:
        """Whether a field file holds a value of theirs, or of a sample nobody knows."""
        item = self._store._cleaner._fields_of(no)
        others = np.concatenate([np.zeros(0, np.int64), *self._others])
        return bool(item.damaged_bytes) or not np.isin(item.ids, others).all()
