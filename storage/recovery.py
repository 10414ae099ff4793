"""Opening a store: what the commit point vouches for is taken as it is, the rest is checked record by record.

Segments are looked over first (headers and footers) and their tables loaded one at a time, so that opening
a store takes no more memory than using it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import _storage
from .files import segment_name
from .index import Commit, Entry
from .layout import DAMAGED_CLASS, HEADER_BYTES, NO_CLASS, READABLE, SAMPLES, Description, Footer, Header

NO_OFFSETS = np.zeros(0, np.uint32)


@dataclass
class Table:
    """The records of one segment: per record whether it is sound, its id relative to the first, class, subject,
    and its offset where lengths vary (else empty).
    """

    ok: np.ndarray
    rel: np.ndarray
    classes: np.ndarray
    subjects: np.ndarray
    offsets: np.ndarray = field(default_factory=lambda: NO_OFFSETS)

    def __len__(self) -> int:
        return len(self.ok)

    @staticmethod
    def join(tables: list[Table]) -> Table:
        """One table of several, in order."""
        if not tables:
            none = np.zeros(0, np.int32)
            return Table(np.zeros(0, np.uint8), np.zeros(0, np.uint32), none, none)
        names = ("ok", "rel", "classes", "subjects", "offsets")
        return Table(*(np.concatenate([getattr(t, n) for t in tables]) for n in names))


@dataclass
class Found:
    """One segment as found on flash. ``end``: behind its last record. ``full``: nothing is appended to it.

    footer: it has one; the table is read from it when it is needed.
    """

    path: Path
    header: Header
    end: int
    size: int
    count: int
    last_rel: int
    full: bool
    footer: bool
    table: Table | None
    guessed: bool = False  # its header was lost

    def load(self) -> Table:
        if self.table is not None:
            return self.table
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            footer = Footer.read(fd, self.size, self.header.crc)
        finally:
            os.close(fd)
        assert footer is not None  # it was read a moment ago
        return table_of_footer(footer[0])


@dataclass
class Survey:
    """Everything found: segments in id order, the last may be open for appending."""

    segments: list[Found] = field(default_factory=list)
    new_entries: dict[int, Entry] = field(default_factory=dict)
    lost_entries: list[int] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)


def table_of_footer(footer: Footer) -> Table:
    """The table a footer stands for."""
    n = len(footer.classes)
    classes = footer.classes.astype(np.int32)
    classes[footer.classes == NO_CLASS] = -1
    subjects = np.full(n, -1, np.int32) if footer.subjects is None else footer.subjects.astype(np.int32)
    rel = np.arange(n, dtype=np.uint32) if footer.rel is None else footer.rel.astype(np.uint32)
    offsets = NO_OFFSETS if footer.offsets is None else footer.offsets.astype(np.uint32)
    return Table((footer.classes != DAMAGED_CLASS).astype(np.uint8), rel, classes, subjects, offsets)


def footer_of_table(table: Table, sparse: bool, variable: bool) -> Footer:
    """The inverse of `table_of_footer`."""
    classes = np.where(table.classes < 0, NO_CLASS, table.classes).astype(np.uint16)
    classes[table.ok == 0] = DAMAGED_CLASS
    subjects = table.subjects if (table.subjects >= 0).any() else None
    return Footer(classes, subjects, table.rel if sparse else None, table.offsets if variable else None)


def scan(fd: int, end: int, header: Header, variable: bool) -> tuple[Table, int]:
    """Reads and checks every record up to ``end``; the table and where the last sound record ends."""
    found = _storage.scan_samples(fd, HEADER_BYTES, end, header.payload, variable, header.crc)
    ok, rel, classes, subjects, offsets, last = found
    if header.compacted:
        ok &= np.concatenate([[True], np.diff(rel.astype(np.int64)) > 0]) if len(rel) else ok
        for i in np.flatnonzero(ok == 0):  # its id is lost; any between its neighbours keeps the order
            rel[i] = rel[i - 1] + 1 if i else 0
        return Table(ok, rel, classes, subjects, offsets), last
    if not variable:
        ok &= rel == np.arange(len(rel), dtype=np.uint32)  # a sound record in another place is not this record
        return Table(ok, np.arange(len(rel), dtype=np.uint32), classes, subjects), last
    n = int(rel[-1]) + 1 if len(rel) else 0
    out = _cut(Table(*(a[:0] for a in (ok, rel, classes, subjects, offsets))), n, variable)
    for to, values in ((out.ok, ok), (out.classes, classes), (out.subjects, subjects), (out.offsets, offsets)):
        to[rel] = values
    return out, last


def survey(
    directory: Path,
    description: Description,
    commit: Commit | None,
    entries: dict[int, Entry],
    ids_of: Callable[[int], np.ndarray | None],
) -> Survey:
    """Looks at every segment file. Changes nothing on flash. ids_of: a compacted segment's ids, as in the index."""
    found = Survey()
    names = {int(m[1], 16): m[0] for m in (re.fullmatch(r"([0-9a-f]{8})\.seg", n) for n in os.listdir(directory)) if m}
    found.lost_entries = [no for no in entries if no not in names]
    loose: list[Found] = []
    for no in sorted(names):
        path = directory / names[no]
        entry = entries.get(no)
        if entry is None and commit is not None and no < commit.tail_no:
            found.orphans.append(path)  # a compaction took its records over but was stopped before it could remove it
            continue
        item = _look(path, no, description, commit, entry, loose, ids_of)
        if item is None:
            found.lost_entries.append(no)
        elif item.header.compacted and entry is None and not item.footer:
            found.orphans.append(path)  # torn while it was written; its sources are still there
        elif not item.count and (item.guessed or entry is not None):
            found.orphans.append(path)  # likewise, and nothing of it came to flash; it would hide records of others
            found.lost_entries.append(no)
        else:
            loose.append(item)
    _order(directory, loose, entries, commit, found)
    return found


def _look(
    path: Path,
    no: int,
    description: Description,
    commit: Commit | None,
    entry: Entry | None,
    before: list[Found],
    ids_of: Callable[[int], np.ndarray | None],
) -> Found | None:
    """One segment file; None when it belongs to another store."""
    codec = description.codec
    is_tail = commit is not None and no == commit.tail_no
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        header = Header.read(fd)
        if header is not None and (header.store != description.store or header.no != no or header.kind != SAMPLES):
            header = None
        if entry is not None and (header is None or header.crc != entry.seed):
            header = _rebuilt_header(description, no, entry)
            if header is None:
                return None
        guessed = header is None
        if header is None:
            # The header of an open segment follows from what stands before it; its records tell the format.
            last = max((b.header.first_id + b.last_rel + 1 for b in before), default=0)
            first = commit.tail_first if commit is not None and is_tail else last
            made = [Header(SAMPLES, no, first, description.payload, 0, description.store, v) for v in READABLE[::-1]]
            header = max(made, key=lambda h: int(scan(fd, size, h, codec.variable)[0].ok.sum()))
        footer = Footer.read(fd, size, header.crc)
        if footer is not None and not codec.variable:
            stride = _storage.RECORD_HEAD + codec.stored
            if len(footer[0].classes) != (footer[1] - HEADER_BYTES) // stride:
                footer = None
        if footer is not None:
            rel = footer[0].rel
            n = len(footer[0].classes)
            last_rel = n - 1 if rel is None else int(rel[-1]) if n else -1
            return Found(path, header, footer[1], size, n, last_rel, True, True, None)
        vouched = entry.count if entry else 0
        if commit is not None and is_tail:
            vouched = max(vouched, commit.physical_next - commit.tail_first)
        table, end = scan(fd, min(entry.end, size) if entry else size, header, codec.variable)
        known = ids_of(no) if header.compacted else None
        if known is not None:
            table = _filled(table, known, codec.variable)
        if not header.compacted:
            table = _cut(table, vouched, codec.variable)
        if not codec.variable:
            end = HEADER_BYTES + len(table) * (_storage.RECORD_HEAD + codec.stored)
        elif commit is not None and is_tail:
            end = max(end, commit.tail_end)
        last_rel = int(table.rel[-1]) if len(table) else -1
        return Found(path, header, end, size, len(table), last_rel, entry is not None, False, table, guessed)
    finally:
        os.close(fd)


def _cut(table: Table, vouched: int, variable: bool) -> Table:
    """Drops the unsound records at the end that nobody vouched for: a torn tail. Missing vouched ones are
    damaged.
    """
    sound = np.flatnonzero(table.ok)
    n = max(int(sound[-1]) + 1 if len(sound) else 0, vouched)
    have = min(n, len(table))
    more = n - have
    pad = lambda a, value: np.concatenate([a[:have], np.full(more, value, a.dtype)])  # noqa: E731
    rel = np.concatenate([table.rel[:have], np.arange(have, n, dtype=np.uint32)])
    offsets = pad(table.offsets, 0) if variable else NO_OFFSETS
    return Table(pad(table.ok, 0), rel, pad(table.classes, -1), pad(table.subjects, -1), offsets)


def _filled(table: Table, rel: np.ndarray, variable: bool) -> Table:
    """A compacted segment's table with all the ids it had; those that are not found are damaged."""
    n = len(rel)
    none = np.full(n, -1, np.int32)
    out = Table(np.zeros(n, np.uint8), rel, none, none.copy(), np.zeros(n, np.uint32) if variable else NO_OFFSETS)
    sound = np.flatnonzero(table.ok.astype(bool) & np.isin(table.rel, rel))
    at = np.searchsorted(rel, table.rel[sound])
    out.ok[at], out.classes[at], out.subjects[at] = 1, table.classes[sound], table.subjects[sound]
    if variable:
        out.offsets[at] = table.offsets[sound]
    return out


def _rebuilt_header(description: Description, no: int, entry: Entry) -> Header | None:
    for version in READABLE:
        for flags in (0, 1):
            header = Header(SAMPLES, no, entry.first_id, description.payload, flags, description.store, version)
            if header.crc == entry.seed:
                return header
    return None


def _order(
    directory: Path, loose: list[Found], entries: dict[int, Entry], commit: Commit | None, found: Survey
) -> None:
    """Sorts by first id and settles overlaps (a compacted segment and the sources it replaces)."""
    compacted = [(f.header.first_id, f.header.first_id + f.last_rel) for f in loose if f.header.compacted and f.count]
    for item in sorted(loose, key=lambda f: (f.header.first_id, f.header.no)):
        no, first = item.header.no, item.header.first_id
        known = no in entries
        if item.header.compacted and not known and commit is not None:
            found.orphans.append(directory / segment_name(no))  # never committed
            continue
        inside = any(a <= first <= b for a, b in compacted) and not item.header.compacted
        if inside and not known and commit is None:
            found.orphans.append(directory / segment_name(no))
            continue
        found.segments.append(item)
    for item in found.segments:
        item.full = item.full or item is not found.segments[-1]  # a lost footer: later segments stand behind it
        if item.full and item.header.no not in entries:
            rel = item.load().rel if item.header.compacted else None
            entry = Entry(item.header.first_id, item.count, item.end, item.header.crc, rel)
            found.new_entries[item.header.no] = entry
