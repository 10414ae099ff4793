"""Fields (logits, latents, weights) beside the samples: an append-only file of their own, keyed by id."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _storage
from .arguments import ids_of, values_of
from .core import UNREAD
from .errors import BadRecord, CannotRead, StoreFull
from .field_recovery import FieldFile, survey_fields
from .files import Writer, field_name, settling, typed
from .layout import FIELDS, HEADER_BYTES, Header
from .reading import Reading
from .ticket import Ticket
from .trusted import field_end, require
from .whole import sync_directory


class FieldFiles(Reading):
    """Writes field records; the latest of an id wins."""

    @typed
    def update_field(self, name: str, ids: Any, values: Any, optional: bool = False) -> Ticket:
        """Stores [N, width] values of a field beside the samples ``ids``; later ones win.

        optional: a refresh that may be left out; when the daily write budget is short nothing is stored and
        the ticket has no ids. Otherwise `WriteBudgetSpent` when the budget is used up.
        """
        self._check(write=True)
        assert self._flusher is not None
        which = ids_of(ids)
        array = values_of(self.schema, name, values, len(which))
        if len(which) and (which.min() < 0 or which.max() >= self._index.next_id):
            raise BadRecord(f"Ids {which.min()} to {which.max()}: there is no such sample.", "Append it first.")
        with self._lock:
            size = len(which) * _storage.field_stride(array.itemsize * array.shape[1] + self._description.seal)
            if optional and not self.wear.allows(size, optional=True):
                self.wear.declined += 1
                return Ticket(which[:0], self._flusher, self._flusher.flushed)
            self._afford(size)
            people = None
            if self._sealing is not None:  # a sample that is gone has no subject, and needs no value
                _, _, people, _, status = self._read_rows(which, hidden=True)
                if (status == UNREAD).any():
                    raise CannotRead(f"The store '{self.path}' cannot be read.", "Check the device, and try again.")
                which, array, people = which[status == 0], array[status == 0], people[status == 0]
            try:
                with settling(self, appending=True):
                    self._write_field(name, which, array, people)
            finally:
                position = self._flusher.appended()
        return Ticket(which, self._flusher, position)

    def _write_field(self, name: str, ids: np.ndarray, values: np.ndarray, subjects: np.ndarray | None) -> None:
        if not len(ids):  # sent again, or all of them gone meanwhile
            return
        raw = values.view(np.uint8).reshape(len(values), -1)
        if self._sealing is not None:
            assert subjects is not None
            raw = self._sealing.values(raw, subjects)
        self._write_field_bytes(name, ids, raw)
        self._widest[name] = max(self._widest[name], values.shape[1])

    def _write_field_bytes(self, name: str, ids: np.ndarray, raw: np.ndarray) -> None:
        """Values [N, bytes] uint8 as they stand on flash."""
        number, spec = self._names.index(name), self.schema.fields[name]
        stride = _storage.field_stride(raw.shape[1])
        at = 0
        while at < len(ids):
            # First, since cleaning may itself write to the open file or begin another.
            self._cleaner.make_room(min(len(ids) - at, self._description.file_bytes // stride) * stride)
            room = 0 if self._field is None else (self._description.file_bytes - self._field.end) // stride
            if room < 1:
                self._next_field_file()
                continue
            assert self._field is not None
            k = min(room, len(ids) - at)
            packed = np.empty(k * stride, np.uint8)
            part = np.ascontiguousarray(ids[at : at + k])
            _storage.pack_fields(packed, raw[at : at + k], number, spec.version, part, self._field.header.crc)
            start = self._field.append(packed)
            self._files[self._field.path.name] = self._field.end
            self.wear.add(len(packed))
            self._payload_written += k * raw.shape[1]
            offsets = (start + stride * np.arange(k)).astype(np.uint32)
            no = np.full(k, self._field.no, np.uint32)
            self._index.set_fields(np.full(k, number, np.uint8), part, no, offsets)
            at += k

    def _next_field_file(self) -> None:
        assert self._flusher is not None
        with settling(self), self._flusher.lock:
            old = self._field
            self._last_field = max(self._last_field, old.no if old else 0) + 1
            head = Header(FIELDS, self._last_field, 0, 0, 0, self._description.store)
            try:
                if old is not None:
                    old.sync()
                new = Writer(self._directory, field_name(head.no), head)
            except StoreFull as error:
                error.unchanged = True
                raise
            self._field = new
            self._files[new.path.name] = new.end
            self._index.add_field_file(head.no, head.crc)
            if old is not None:
                old.close()
        self.wear.add(HEADER_BYTES)
        with settling(self):
            self._cleaner.after_field_file()

    def _open_fields(self) -> None:
        self._field = None
        self._last_field = 0
        last = None
        for item in survey_fields(self._directory, self._description):
            self._last_field = item.header.no
            self._index.add_field_file(item.header.no, item.header.crc)
            self._index_fields(item, item.end)
            self._files[field_name(item.header.no)] = item.end
            last = item
        if last is not None and not self.read_only and not last.unread:  # what is behind its end may be sound
            self._field = Writer(self._directory, field_name(last.header.no), last.header, last.end)
            self._field.dirty = True

    def _index_fields(self, item: FieldFile, end: int) -> None:
        keep = (item.offset < end) & (item.ids >= 0) & (item.ids < self._index.physical_next)  # of samples there are
        n = int(keep.sum())
        if n:
            no = np.full(n, item.header.no, np.uint32)
            self._index.set_fields(item.field[keep], item.ids[keep], no, item.offset[keep])
        for f, name in enumerate(self._names):
            lengths = item.length[keep & (item.field == f)]
            if len(lengths):
                itemsize = np.dtype(self.schema.fields[name].dtype).itemsize
                width = (int(lengths.max()) - self._description.seal) // itemsize
                self._widest[name] = max(self._widest[name], width)

    def _rewind_fields(self, no: int, end: int) -> None:
        assert self._flusher is not None
        with self._flusher.lock:
            for item in survey_fields(self._directory, self._description):
                if item.unread:
                    raise CannotRead(f"A field file of '{self.path}' cannot be read.", "Check the device, try again.")
                size = self._files.get(field_name(item.header.no), item.end)
                require(item.header.no != no or field_end(end, size), "a field file is shorter")
            if self._field is not None:
                self._field.close()
                self._field = None
            self._index.clear_fields()
            self._widest = dict.fromkeys(self._names, 0)
            for item in survey_fields(self._directory, self._description):
                name = field_name(item.header.no)
                if item.header.no > no:
                    self._index.drop_field_file(item.header.no)
                    (self._directory / name).unlink()
                    del self._files[name]
                    continue
                until = end if item.header.no == no else item.end
                self._index_fields(item, until)
                if item.header.no == no:
                    self._field = Writer(self._directory, name, item.header, until)
                    self._files[name] = until
            sync_directory(self._directory)
