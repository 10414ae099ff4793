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


def added(tables: list[Table], table: Table) -> list[Table]:
    """Tables of one segment with one more at their end, joined so that there are few, whatever came at a time."""
    tables = [*tables, table]
    while len(tables) > 1 and len(tables[-2]) <= len(tables[-1]):
        tables[-2:] = [Table.join(tables[-2:])]
    return tables


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
    unread: int = 0  # bytes the device did not give: what stands there may be sound

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
    """Everything found: segments in id order, the last may be open for appending.

    orphans: files whose records others hold, or that nobody needs. aside: files that hold records nobody else has, and
    that cannot be among the segments.
    """

    segments: list[Found] = field(default_factory=list)
    new_entries: dict[int, Entry] = field(default_factory=dict)
    lost_entries: list[int] = field(default_factory=list)
    orphans: list[Found] = field(default_factory=list)
    aside: list[Found] = field(default_factory=list)


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


def scan(fd: int, end: int, header: Header, variable: bool) -> tuple[Table, int, int]:
    """Reads and checks every record up to ``end``; the table, where the last sound record ends, and how many bytes the
    device did not give.
    """
    found = _storage.scan_samples(fd, HEADER_BYTES, end, header.payload, variable, header.crc)
    ok, rel, classes, subjects, offsets, last, unread = found
    if header.compacted:
        ok &= np.concatenate([[True], np.diff(rel.astype(np.int64)) > 0]) if len(rel) else ok
        for i in np.flatnonzero(ok == 0):  # its id is lost; any between its neighbours keeps the order
            rel[i] = rel[i - 1] + 1 if i else 0
        return Table(ok, rel, classes, subjects, offsets), last, unread
    if not variable:
        ok &= rel == np.arange(len(rel), dtype=np.uint32)  # a sound record in another place is not this record
        return Table(ok, np.arange(len(rel), dtype=np.uint32), classes, subjects), last, unread
    n = int(rel[-1]) + 1 if len(rel) else 0
    out = _cut(Table(*(a[:0] for a in (ok, rel, classes, subjects, offsets))), n, variable)
    for to, values in ((out.ok, ok), (out.classes, classes), (out.subjects, subjects), (out.offsets, offsets)):
        to[rel] = values
    return out, last, unread


Gone = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # ids, classes, subjects -> bool


def survey(
    directory: Path,
    description: Description,
    commit: Commit | None,
    entries: dict[int, Entry],
    ids_of: Callable[[int], np.ndarray | None],
    gone: Gone,
) -> Survey:
    """Looks at every segment file. Changes nothing on flash. ids_of: a compacted segment's ids, as in the index. gone:
    which records were evicted or taken out on request, so that nobody misses them.
    """
    found = Survey()
    names = {int(m[1], 16): m[0] for m in (re.fullmatch(r"([0-9a-f]{8})\.seg", n) for n in os.listdir(directory)) if m}
    found.lost_entries = [no for no in entries if no not in names]
    loose: list[Found] = []
    doubtful: list[Found] = []
    for no in sorted(names):
        entry = entries.get(no)
        item = _look(directory / names[no], no, description, commit, entry, loose, ids_of)
        if item is None:
            found.lost_entries.append(no)
        elif entry is None and commit is not None and (no < commit.tail_no or item.header.compacted):
            doubtful.append(item)  # most likely of a compaction that was stopped: its sources, or its result
        elif item.header.compacted and entry is None and not item.footer:
            doubtful.append(item)  # torn while it was written; its sources are most likely there
        elif not item.count and (item.guessed or entry is not None):
            doubtful.append(item)  # likewise, and nothing of it came to flash; it would hide records of others
            found.lost_entries.append(no)
        else:
            loose.append(item)
    _order(loose, entries, commit, found, doubtful)
    for item in doubtful:
        _settle(item, found, gone)
    _enter(found, entries)
    return found


def _settle(item: Found, found: Survey, gone: Gone) -> None:
    """A file that no index entry names: among the segments, where it holds records that nobody else has and that may
    still be wanted; set aside where its ids lie between others'; an orphan where nothing of it is missed.
    """
    first, table = item.header.first_id, item.load()
    sound = np.flatnonzero(table.ok)
    ids = first + table.rel[sound].astype(np.int64)
    missed = ~gone(ids, table.classes[sound], table.subjects[sound])
    low, high = (int(ids[0]), int(ids[-1])) if len(ids) else (first, first)
    touching = [f for f in found.segments if f.header.first_id <= high and low <= f.header.first_id + f.last_rel]
    for other in touching:
        other_table = other.load()
        missed &= ~np.isin(ids, other.header.first_id + other_table.rel[other_table.ok > 0].astype(np.int64))
    if not missed.any() and not item.unread:
        found.orphans.append(item)
    elif touching or item.unread or not len(ids):
        found.aside.append(item)
    else:
        item.full = True
        found.segments.append(item)
        found.segments.sort(key=lambda f: (f.header.first_id, f.header.no))


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
        ours = (SAMPLES, description.store, no, description.payload)
        if header is not None and (header.kind, header.store, header.no, header.payload) != ours:
            header = None
        if entry is not None and (header is None or header.crc != entry.seed):
            header = header_of_entry(description, no, entry)
            if header is None:
                return None
        guessed = header is None
        if header is None:
            # The header of an open segment follows from what stands before it; its records tell the format.
            last = max((b.header.first_id + b.last_rel + 1 for b in before), default=0)
            first = commit.tail_first if commit is not None and is_tail else last
            made = [Header(SAMPLES, no, first, description.payload, 0, description.store, v) for v in READABLE[::-1]]
            header = max(made, key=lambda h: int(scan(fd, size, h, codec.variable)[0].ok.sum()))
        try:
            footer = Footer.read(fd, size, header.crc)
        except OSError:  # what it says stands in the records too
            footer = None
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
        # No segment holds more, whatever the index says.
        most = max(description.file_bytes, HEADER_BYTES + 8 * (description.payload + 64)) // _storage.RECORD_HEAD + 8
        vouched = min(vouched, most)
        table, end, unread = scan(fd, min(entry.end, size) if entry else size, header, codec.variable)
        if unread and not header.compacted:  # as many records as can be there
            vouched = max(vouched, len(table) + (unread // _storage.RECORD_HEAD if codec.variable else 0))
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
        full = entry is not None or unread > 0  # nothing is written where something sound may stand
        return Found(path, header, end, size, len(table), last_rel, full, False, table, guessed, unread)
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


def header_of_entry(description: Description, no: int, entry: Entry) -> Header | None:
    for version in READABLE:
        for flags in (0, 1):
            header = Header(SAMPLES, no, entry.first_id, description.payload, flags, description.store, version)
            if header.crc == entry.seed:
                return header
    return None


def _order(
    loose: list[Found], entries: dict[int, Entry], commit: Commit | None, found: Survey, doubtful: list[Found]
) -> None:
    """Sorts by first id; without an index a compacted segment stands for the sources within it, older compacted ones
    too: both are there where a rewriting was cut short."""
    compacted = [(*_span(f), f.header.no) for f in loose if f.header.compacted and f.count]
    for item in sorted(loose, key=lambda f: (f.header.first_id, f.header.no)):
        no, (first, last) = item.header.no, _span(item)
        newer = [(a, b) for a, b, other in compacted if not item.header.compacted or other > no]
        inside = any(a <= first <= b or (item.header.compacted and first <= a <= last) for a, b in newer)
        if inside and no not in entries and commit is None:
            doubtful.append(item)
        else:
            found.segments.append(item)


def _span(item: Found) -> tuple[int, int]:
    """The first and the last id that a segment may hold."""
    return item.header.first_id, item.header.first_id + item.last_rel


def _enter(found: Survey, entries: dict[int, Entry]) -> None:
    """Entries for the full segments that have none."""
    for item in found.segments:
        item.full = item.full or item is not found.segments[-1]  # a lost footer: later segments stand behind it
        if item.full and item.header.no not in entries:
            rel = item.load().rel if item.header.compacted else None
            entry = Entry(item.header.first_id, item.count, item.end, item.header.crc, rel)
            found.new_entries[item.header.no] = entry
