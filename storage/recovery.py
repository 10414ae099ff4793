"""Opening a store: what the commit point vouches for is taken as it is, the rest is checked record by
record.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import _storage
from .files import field_name, segment_name
from .index import Commit, Entry
from .layout import DAMAGED_CLASS, FIELDS, HEADER_BYTES, NO_CLASS, SAMPLES, Description, Footer, Header


@dataclass
class Table:
    """The records of one segment: per record whether it is sound, its id relative to the first, class,
    subject.
    """

    ok: np.ndarray
    rel: np.ndarray
    classes: np.ndarray
    subjects: np.ndarray

    def __len__(self) -> int:
        return len(self.ok)


@dataclass
class Found:
    """One segment as found on flash. ``end``: behind its last record. ``full``: it has a footer."""

    header: Header
    table: Table
    end: int
    full: bool
    size: int


@dataclass
class Survey:
    """Everything found: segments in id order, the last may be open for appending."""

    segments: list[Found] = field(default_factory=list)
    new_entries: dict[int, Entry] = field(default_factory=dict)
    lost_entries: list[int] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)  # ids whose record is unsound


def table_of_footer(footer: Footer) -> Table:
    """The table a footer stands for."""
    n = len(footer.classes)
    classes = footer.classes.astype(np.int32)
    classes[footer.classes == NO_CLASS] = -1
    subjects = np.full(n, -1, np.int32) if footer.subjects is None else footer.subjects.astype(np.int32)
    rel = np.arange(n, dtype=np.uint32) if footer.rel is None else footer.rel.astype(np.uint32)
    return Table((footer.classes != DAMAGED_CLASS).astype(np.uint8), rel, classes, subjects)


def footer_of_table(table: Table, sparse: bool) -> Footer:
    """The inverse of `table_of_footer`."""
    classes = np.where(table.classes < 0, NO_CLASS, table.classes).astype(np.uint16)
    classes[table.ok == 0] = DAMAGED_CLASS
    subjects = table.subjects if (table.subjects >= 0).any() else None
    return Footer(classes, subjects, table.rel if sparse else None)


def scan(fd: int, end: int, header: Header) -> Table:
    """Reads and checks every record up to ``end``."""
    ok, rel, classes, subjects = _storage.scan_samples(fd, HEADER_BYTES, end, header.payload, header.crc)
    if header.compacted:
        ok &= np.concatenate([[True], np.diff(rel.astype(np.int64)) > 0]) if len(rel) else ok
    else:
        ok &= rel == np.arange(len(rel), dtype=np.uint32)  # a sound record in another place is not this record
        rel = np.arange(len(rel), dtype=np.uint32)
    return Table(ok, rel, classes, subjects)


def survey(directory: Path, description: Description, commit: Commit | None, entries: dict[int, Entry]) -> Survey:
    """Looks at every segment file. Changes nothing on flash."""
    found = Survey()
    stride = _storage.RECORD_HEAD + description.schema.sample_bytes
    payload = description.schema.sample_bytes
    names = {int(m[1], 16): m[0] for m in (re.fullmatch(r"([0-9a-f]{8})\.seg", n) for n in os.listdir(directory)) if m}
    found.lost_entries = [no for no in entries if no not in names]
    loose: list[Found] = []
    for no in sorted(names):
        path = directory / names[no]
        entry = entries.get(no)
        if entry is None and commit is not None and no < commit.tail_no:
            found.orphans.append(path)  # a compaction took its records over but was stopped before it could remove it
            continue
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            header = Header.read(fd)
            if header is not None and (header.store != description.store or header.no != no or header.kind != SAMPLES):
                header = None
            if entry is not None and (header is None or header.crc != entry.seed):
                header = _rebuilt_header(description, no, entry)
            if header is None and entry is None:
                # The header of an open segment follows from what stands before it.
                if commit is not None and no == commit.tail_no:
                    first = commit.tail_first
                else:
                    first = loose[-1].header.first_id + len(loose[-1].table) if loose else 0
                header = Header(SAMPLES, no, first, payload, 0, description.store)
            if header is None:
                found.lost_entries.append(no)
                continue
            footer = Footer.read(fd, size, header.crc)
            if footer is not None:
                table, end = table_of_footer(footer[0]), footer[1]
                if len(table) != (end - HEADER_BYTES) // stride:
                    footer = None
            if footer is None:
                if header.compacted and entry is None:
                    found.orphans.append(path)  # torn while it was written; its sources are still there
                    continue
                vouched = entry.count if entry else 0
                if commit is not None and no == commit.tail_no:
                    vouched = max(vouched, (commit.tail_end - HEADER_BYTES) // stride)
                table = scan(fd, entry.end if entry else size, header)
                table = _cut(table, vouched)
                end = HEADER_BYTES + len(table) * stride
            loose.append(Found(header, table, end, footer is not None or entry is not None, size))
        finally:
            os.close(fd)
    _order(directory, loose, entries, commit, found)
    for item in found.segments:
        first = item.header.first_id
        for pos in np.flatnonzero(item.table.ok == 0):
            found.damaged.append(first + int(item.table.rel[pos]))
    return found


def _cut(table: Table, vouched: int) -> Table:
    """Drops the unsound records at the end that nobody vouched for: a torn tail. Missing vouched ones are
    damaged.
    """
    sound = np.flatnonzero(table.ok)
    n = max(int(sound[-1]) + 1 if len(sound) else 0, vouched)
    have = min(n, len(table))
    more = n - have
    pad = lambda a, value: np.concatenate([a[:have], np.full(more, value, a.dtype)])  # noqa: E731
    rel = np.concatenate([table.rel[:have], np.arange(have, n, dtype=np.uint32)])
    return Table(pad(table.ok, 0), rel, pad(table.classes, -1), pad(table.subjects, -1))


def _rebuilt_header(description: Description, no: int, entry: Entry) -> Header | None:
    for flags in (0, 1):
        header = Header(SAMPLES, no, entry.first_id, description.schema.sample_bytes, flags, description.store)
        if header.crc == entry.seed:
            return header
    return None


def _order(
    directory: Path, loose: list[Found], entries: dict[int, Entry], commit: Commit | None, found: Survey
) -> None:
    """Sorts by first id and settles overlaps (a compacted segment and the sources it replaces)."""
    compacted = [
        (f.header.first_id, f.header.first_id + int(f.table.rel[-1]))
        for f in loose
        if f.header.compacted and len(f.table)
    ]
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
            entry = Entry(item.header.first_id, len(item.table), item.end, item.header.crc)
            found.new_entries[item.header.no] = entry


@dataclass
class FieldFile:
    """One field file: its header and the sound records in it."""

    header: Header
    offset: np.ndarray
    field: np.ndarray
    length: np.ndarray
    ids: np.ndarray
    end: int
    damaged_bytes: int


def survey_fields(directory: Path, description: Description) -> list[FieldFile]:
    """Reads and checks every field file, oldest first."""
    out = []
    for name in sorted(n for n in os.listdir(directory) if re.fullmatch(r"[0-9a-f]{8}\.fld", n)):
        no = int(name[:8], 16)
        fd = os.open(directory / field_name(no), os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Everything in a field file's header is known from its name, so a damaged header loses nothing.
            header = Header(FIELDS, no, 0, 0, 0, description.store)
            size = os.fstat(fd).st_size
            offset, kind, length, ids, end, damaged = _storage.scan_fields(fd, HEADER_BYTES, size, header.crc)
            out.append(FieldFile(header, offset, kind, length, ids, max(end, HEADER_BYTES), damaged))
        finally:
            os.close(fd)
    return out
