"""Reading samples and their fields in batches; every checksum is verified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .access import Access
from .arguments import ids_of
from .core import DAMAGED, UNREAD
from .errors import BadRecord
from .files import typed

Batch = dict[str, Any]


class Reading(Access):
    """Batches of records."""

    def _read_rows(self, ids: np.ndarray, hidden: bool) -> tuple[np.ndarray, ...]:
        n = len(ids)
        rows = np.empty((n, self.schema.sample_bytes), np.uint8)
        classes, subjects = np.empty(n, np.int32), np.empty(n, np.int32)
        times, status = np.empty(n, np.int64), np.empty(n, np.uint8)
        self._index.read(ids, rows, classes, subjects, times, status, hidden)
        return rows, classes, subjects, times, status

    def _found_damaged(self, id_: int) -> bool:
        """Whether a record that was read with a wrong checksum is damaged; it is out of use then. It may also be that
        its file was replaced and overwritten meanwhile: it is read once more, while nobody can do that.
        """
        with self._lock:
            if self._sealing is not None and not self._index.retained(id_):
                return False  # forgotten, most likely: it opens with no key
            status = int(self._read_rows(np.array([id_]), hidden=True)[4][0])
            if status not in (DAMAGED, UNREAD):
                return False
            self._take_out(id_, status)
            return True

    @typed
    def read(self, ids: Any, fields: Iterable[str] | None = None) -> Batch:
        """The samples ``ids`` as one batch.

        samples [N, *shape], classes int32, ids int64, subjects int32, times float64 (s), ok bool [N];
        fields: name -> (values [N, widest], widths int32 [N]), width 0 where nothing is stored; ``fields``
        names the wanted ones (default all). A row that is damaged, evicted or unknown is zeros with ok
        False and class -1.
        """
        self._check()
        which = ids_of(ids)
        rows, classes, subjects, times, status = self._read_rows(which, hidden=False)
        if status.any():
            bad = np.flatnonzero((status == DAMAGED) | (status == UNREAD))
            moved = [i for i in bad if not self._found_damaged(int(which[i]))]
            if moved:
                with self._lock:
                    again = self._read_rows(which[moved], hidden=False)
                for values, new in zip((rows, classes, subjects, times, status), again):
                    values[moved] = new
        samples = rows.view(self.schema.sample_dtype).reshape(len(which), *self.schema.sample_shape)
        batch: Batch = {
            "samples": samples,
            "classes": classes,
            "ids": which,
            "subjects": subjects,
            "times": times / 1000.0,
            "ok": status == 0,
            "fields": {},
        }
        for name in self._names if fields is None else fields:
            batch["fields"][name] = self._read_field(name, which, status)
        return batch

    def _read_field(self, name: str, ids: np.ndarray, status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if name not in self.schema.fields:
            raise BadRecord(f"The stream has no field '{name}'.", f"It has: {', '.join(self._names) or 'none'}.")
        dtype = np.dtype(self.schema.fields[name].dtype)
        width = self._widest[name]
        raw = np.empty((len(ids), width * dtype.itemsize), np.uint8)
        got = np.empty(len(ids), np.uint32)
        self._index.read_field(self._names.index(name), ids, raw, got)
        values, widths = raw.view(dtype), (got // dtype.itemsize).astype(np.int32)
        values[status != 0] = 0
        widths[status != 0] = 0
        return values.reshape(len(ids), width), widths
