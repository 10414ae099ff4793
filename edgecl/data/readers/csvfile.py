"""CSV files of any usual dialect as columns of numbers and text. Standard library and numpy only."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import BadInput
from .decode import Unreadable

DELIMITERS = ",;\t| "
MISSING = {"", "na", "n/a", "nan", "null", "none", "-", "?"}
CHUNK = 20_000  # rows
LONGEST_CELL = 1 << 20  # characters
COMMENT = "#"


@dataclass
class Table:
    """Columns by name, each float64 [n] or text (object [n]); NaN and None where a cell is missing.

    bad : what was wrong with rows that could not be read, 'row 17: 5 cells of 8'
    notes : how the file was read, where that is not plain
    """

    columns: dict[str, np.ndarray]
    bad: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class Dialect:
    encoding: str
    delimiter: str
    header: bool
    names: tuple[str, ...]


def read_csv(file: Path) -> Table:
    """The table in a .csv or .tsv file, gzip-compressed or not. Raises `Unreadable`, and BadInput for an odd header."""
    if not file.stat().st_size:
        raise Unreadable("empty")
    try:
        dialect = _dialect(file)
        try:
            return _read(file, dialect)
        except UnicodeDecodeError:
            return _read(file, Dialect("latin-1", dialect.delimiter, dialect.header, dialect.names))
    except (csv.Error, EOFError, gzip.BadGzipFile, OSError, UnicodeError) as error:
        raise Unreadable(f"damaged ({error})") from None


@contextmanager
def _opened(file: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    with open(file, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if zipped else raw
        yield io.TextIOWrapper(stream, encoding=encoding, newline="")  # type: ignore[type-var]


def _lines(stream: io.TextIOWrapper, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) after the header, without comments and empty lines."""
    csv.field_size_limit(LONGEST_CELL)
    spaced = dialect.delimiter == " "
    reader = csv.reader(stream, delimiter=dialect.delimiter, skipinitialspace=True)
    seen_header = not dialect.header
    for cells in reader:
        if spaced:
            cells = [c for c in cells if c]
        if not any(c.strip() for c in cells) or (cells[0].startswith(COMMENT) and not seen_header):
            continue
        if not seen_header:
            seen_header = True
            continue
        yield reader.line_num, cells


def _dialect(file: Path) -> Dialect:
    with _opened(file, "latin-1") as stream:
        start = stream.read(1 << 16).encode("latin-1")
    encoding = "utf-8"
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if start.startswith(mark):
            encoding = name
    if b"\0" in start and encoding != "utf-16":
        raise Unreadable("no text")
    text = start.decode(encoding, errors="ignore")
    lines = [line for line in text.splitlines()[:50] if line.strip() and not line.startswith(COMMENT)]
    if len(start) == 1 << 16 and len(lines) > 1:
        lines.pop()  # it may be cut
    if not lines:
        raise Unreadable("empty")

    def fields(delimiter: str) -> list[list[str]]:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        return [[c for c in row if c] for row in rows] if delimiter == " " else rows

    def score(delimiter: str) -> tuple[int, int]:
        counts = [len(row) for row in fields(delimiter)]
        common = max(set(counts), key=counts.count)
        return (counts.count(common) if common > 1 else 0, common)

    delimiter = max(DELIMITERS, key=lambda d: (score(d)[0], -DELIMITERS.index(d)))
    rows = fields(delimiter)
    first = [cell.strip() for cell in rows[0]]
    counted = [str(i) for i in range(len(first))]
    texts = [cell for cell in first if not _is_number(cell)]
    numbers = [cell for cell in first if _is_number(cell)]
    header = not numbers or (bool(texts) and numbers == counted[: len(numbers)])
    names = first if header else [str(i + 1) for i in range(len(first))]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise BadInput(
            f"{file} has two columns '{min(repeated)}'.", "Give every column a name of its own in the first line."
        )
    return Dialect(encoding, delimiter, header, tuple(names))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read(file: Path, dialect: Dialect) -> Table:
    """All columns, each as numbers where all its cells are: begun anew when a column turns out to be text late on."""
    width = len(dialect.names)
    text: set[int] = set()
    while True:
        bad: list[str] = []
        parts: list[list[np.ndarray]] = [[] for _ in range(width)]
        late = _fill(file, dialect, text, parts, bad)
        if late is None:
            break
        text.add(late)
    columns = {}
    for i, name in enumerate(dialect.names):
        columns[name] = np.concatenate(parts[i]) if parts[i] else np.zeros(0)
        parts[i] = []
    notes = [] if dialect.encoding.startswith("utf-8") else [f"text read as {dialect.encoding}"]
    if not dialect.header:
        notes.append("no line of names: columns are numbered from 1")
    return Table(columns, bad, notes)


def _fill(
    file: Path, dialect: Dialect, text: set[int], parts: list[list[np.ndarray]], bad: list[str]
) -> int | None:
    """Read into ``parts``, text in the columns ``text``; the column that holds text after numbers, if there is one."""
    words: dict[str, str] = {}  # each different text once
    with _opened(file, dialect.encoding) as stream:
        for chunk in _chunks(stream, dialect, bad):
            for i, cells in enumerate(zip(*chunk)):
                texts = [None if c.strip().lower() in MISSING else c.strip() for c in cells]
                values = None if i in text else _numbers(texts, dialect.delimiter != ",")
                if values is None:
                    if parts[i] and i not in text:
                        return i
                    text.add(i)
                    values = np.array([None if t is None else words.setdefault(t, t) for t in texts], object)
                parts[i].append(values)
    return None


def _chunks(stream: io.TextIOWrapper, dialect: Dialect, bad: list[str]) -> Iterator[list[list[str]]]:
    rows: list[list[str]] = []
    width = len(dialect.names)
    for number, cells in _lines(stream, dialect):
        if len(cells) == width + 1 and not cells[-1]:  # a delimiter at the end of the line
            cells = cells[:-1]
        if len(cells) != width:
            bad.append(f"row {number}: {len(cells)} cells of {width}")
            continue
        rows.append(cells)
        if len(rows) == CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def _numbers(texts: list[str | None], comma: bool) -> np.ndarray | None:
    """float64 of the texts, NaN where missing; None where one is no number. comma: may stand for the point."""
    try:
        return np.array([np.nan if t is None else float(t) for t in texts])
    except ValueError:
        pass
    if not comma or not all(t is None or re.fullmatch(r"[-+]?\d*(,\d+)?([eE][-+]?\d+)?", t) for t in texts):
        return None
    try:
        return np.array([np.nan if t is None else float(t.replace(",", ".")) for t in texts])
    except ValueError:
        return None
