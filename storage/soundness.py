"""Checking every record of an open store."""

from __future__ import annotations

import contextlib

import numpy as np

from .amending import FILE, Log, changes_header
from .aside import FOLDER, files
from .core import DAMAGED, UNREAD, DamagedRecord
from .field_recovery import read_field_file, survey_fields
from .files import field_name, typed
from .reading import Reading


class Soundness(Reading):
    """Finds what is damaged and takes it out of use."""

    @typed
    def verify(self) -> list[DamagedRecord]:
        """Reads and checks every record; the damaged ones, which are taken out of use. Safe while training
        runs.
        """
        self._check()
        with self._lock:
            segments = self._index.segments()
        for no, _, _, _ in segments:
            # of an encrypted store only what may still be asked for: forgotten records open with no key
            ids = self._index.ids_of_segment(no) if self._sealing is None else self._index.retained_ids(no)
            for at in range(0, len(ids), 256):
                part = ids[at : at + 256]
                status = self._read_rows(part, hidden=True)[4]
                for i in np.flatnonzero((status == DAMAGED) | (status == UNREAD)):
                    with self._lock:
                        if self._index.where(int(part[i]))[0] == no:  # else: cleaned meanwhile
                            self._found_damaged(int(part[i]))
        fields = []
        for item in survey_fields(self._directory, self._description):
            if not item.damaged_bytes:
                continue
            with self._lock, contextlib.suppress(FileNotFoundError):  # it may have been replaced or written meanwhile
                if skipped := read_field_file(self._directory, item.header.no, self._description).damaged_bytes:
                    fields.append(DamagedRecord(None, field_name(item.header.no), 0, f"{skipped} bytes skipped"))
        log = Log.read(self.path / FILE, changes_header(self._description))
        if log.damaged:
            fields.append(DamagedRecord(None, FILE, 0, f"{log.damaged} bytes skipped"))
        aside = [DamagedRecord(None, f"{FOLDER}/{path.name}", 0, "set aside: not in use") for path in files(self.path)]
        return [*(self._damaged[i] for i in sorted(self._damaged)), *fields, *aside]
