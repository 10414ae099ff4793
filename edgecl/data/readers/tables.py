"""Tables, CSV or Parquet: rows are samples, or steps of recordings that are cut into windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import require
from .. import windows
from ..cache import DatasetWriter, new_folder
from ..child import job
from ..complete import Origins, complete
from ..gate import Gate
from ..naming import spelled, split_of, subject_in
from ..options import Reading
from .csvfile import Table, read_csv
from .decode import Unreadable
from .recordings import Stretch, convert_series
from .roles import find_roles, seconds
from .walk import Entry

STEPS_A_LABEL = 16  # from so many rows of one label in a row on, rows with times are steps of recordings
GAP = 2.5  # times the usual step in time: a recording ends there
GROUPS = ("file", "subject", "task", "domain")


def read_table(file: Path) -> Table:
    """The table of a .csv, .tsv or .parquet file. Raises `Unreadable`, MissingExtra and BadInput."""
    if file.suffix.lower() != ".parquet":
        return read_csv(file)
    parquet = require("pyarrow.parquet", "tables")
    try:
        data = parquet.read_table(file)
    except Exception as error:  # a foreign decoder's faults are the file's
        raise Unreadable(f"damaged ({str(error).splitlines()[0][:80]})") from None
    columns, unused = {}, []
    for name in data.column_names:
        column = data.column(name)
        kind = str(column.type)
        if kind.startswith(("int", "uint", "float", "double", "halffloat")):
            columns[name] = np.asarray(column.to_numpy(), np.float64)  # NaN where missing
        elif kind.startswith(("bool", "decimal")):
            columns[name] = np.array([np.nan if v is None else float(v) for v in column.to_pylist()])
        elif kind.startswith(("string", "large_string", "dictionary", "timestamp", "date")):
            texts = [None if v is None else (v.isoformat() if hasattr(v, "isoformat") else str(v))
                     for v in column.to_pylist()]  # fmt: skip
            columns[name] = np.array(texts, object)
        else:
            unused.append(f"{name} ({kind})")
    table = Table(columns)
    if unused:
        table.notes.append(f"columns not used: {', '.join(unused)}")
    return table


@job
def convert_table(path: str | Path, target: str | Path, reading: Mapping[str, Any] | None = None) -> Path:
    """The plain form of one table. reading : `Reading.to_json`. Raises `Refused` and BadInput."""
    file, read = Path(path), Reading.from_json(reading or {})
    gate = Gate(file.parent, read.skip_broken)
    try:
        table = read_table(file)
    except Unreadable as error:
        raise gate.refuse(f"{file} cannot be read: {error.reason}.", "Save it again as CSV, UTF-8.") from error
    _convert(table, Path(target), read, gate, str(file))
    return Path(target)


def convert_table_files(entries: Sequence[Entry], target: Path, reading: Reading, gate: Gate) -> None:
    """Tables in class folders, one recording a file; or, without class folders, tables with a column of labels."""
    tables: list[tuple[Entry, Table]] = []
    for entry in entries:
        try:
            tables.append((entry, read_table(entry.file)))
        except Unreadable as error:
            gate.broken(entry.file, error.reason, entry.label or None)
    if not tables:
        gate.settle([])
    names = list(tables[0][1].columns)
    same = []
    for entry, table in tables:
        if list(table.columns) == names:
            same.append((entry, table))
        else:
            odd = ", ".join(sorted(set(table.columns) ^ set(names))[:5]) or "another order"
            gate.broken(entry.file, f"other columns than {tables[0][0].file.name}: {odd}", entry.label or None)
    columns = {name: np.concatenate([_alike(table.columns[name], same, name) for _, table in same]) for name in names}
    joined = Table(columns, [f"{e.file.name}, {bad}" for e, t in same for bad in t.bad],
                   list(dict.fromkeys(note for _, t in same for note in t.notes)))  # fmt: skip

    def per_file(name: str, value: Any) -> None:
        """A column that the files' places give, beside those they have."""
        joined.columns[name] = np.concatenate([np.full(t.rows, value(e), object) for e, t in same])
        given.append(f"{name[1:]}={name}")

    given = [] if reading.columns is None else [reading.columns]
    if entries[0].label:
        per_file("/label", lambda e: e.label)
    if "file" not in reading.roles:
        per_file("/file", lambda e: str(e.file.relative_to(gate.place)))
    subjects = [e.subject or subject_in(e.file.stem) for e, _ in same]
    if "subject" not in reading.roles and all(subjects) and len(set(subjects)) > 1:
        per_file("/subject", lambda e: e.subject or subject_in(e.file.stem))
    if any(e.part for e, _ in same):
        per_file("/split", lambda e: e.part or "train")
    _convert(joined, target, replace(reading, columns=",".join(given) or None), gate, str(gate.place))


def _alike(values: np.ndarray, tables: Sequence[tuple[Entry, Table]], name: str) -> np.ndarray:
    """A column as text where it is text in one of the files."""
    if values.dtype != object and any(table.columns[name].dtype == object for _, table in tables):
        return np.array([None if np.isnan(v) else f"{v:g}" for v in values], object)
    return values


def _convert(table: Table, target: Path, reading: Reading, gate: Gate, source: str) -> None:
    gate.forms.add("table")
    for note in table.notes:
        gate.note(note)
    for bad in table.bad:
        gate.broken(bad.partition(": ")[0], bad.partition(": ")[2])
    if not table.rows:
        raise gate.refuse(f"{source} holds no rows.", "Give a row for every sample.")
    roles, chosen = find_roles(table, reading, gate)
    rows = np.stack([table.columns[name] for name in chosen], axis=1)
    labels = table.columns[roles["label"]]
    times, unit_known = (None, False)
    if "time" in roles:
        times, unit_known = seconds(table.columns[roles["time"]], roles["time"])
        if times is None:
            gate.warn(f"The column '{roles['time']}' holds no times that can be read.")
    good = np.isfinite(rows.astype(np.float32)).all(axis=1) & ~_missing(labels)
    if times is not None:
        good &= np.isfinite(times)
    for place in np.flatnonzero(~good).tolist():
        gate.broken(f"row {place + 1} of the data", "a cell is missing or no finite number")
    origins, order = _origins(table, roles, labels, times, gate)
    keep = order[good[order]]
    steps = _are_steps(origins, keep, times is not None, reading, gate)
    if steps:
        if not reading.skip_broken:  # before windows are cut across what is missing
            gate.settle([origins["labels"][i] for i in keep])
        stretches, rate = _stretches(rows, keep, origins, times, unit_known)
        gate.note(f"steps of {len(chosen)} columns ({', '.join(chosen[:6])}{', ..' if len(chosen) > 6 else ''})")
        convert_series(stretches, len(chosen), target, reading, gate, rate)
        return
    _convert_rows(rows, keep, origins, target, reading, gate, source)


def _missing(values: np.ndarray) -> np.ndarray:
    return np.array([v is None for v in values]) if values.dtype == object else np.isnan(values)


def _origins(
    table: Table, roles: dict[str, str], labels: np.ndarray, times: np.ndarray | None, gate: Gate
) -> tuple[dict[str, list[Any]], np.ndarray]:
    """({group: a value a row}, order of the rows: by group, then time). Rows of a third part are left out."""
    origins: dict[str, list[Any]] = {"labels": _names(labels, roles["label"], gate)}
    for role in GROUPS:
        if role in roles:
            origins[f"{role}s"] = _names(table.columns[roles[role]], roles[role], None)
    order = np.arange(table.rows)
    if times is not None:
        origins["times"] = times.tolist()
        groups = [origins[f"{role}s"] for role in ("file", "subject") if f"{role}s" in origins]
        first: dict[Any, int] = {}
        place = [first.setdefault(key, len(first)) for key in zip(*groups)] if groups else np.zeros(table.rows, int)
        order = np.lexsort((times, np.asarray(place)))
    if "split" in roles:
        parts = _parts(table.columns[roles["split"]], roles["split"])
        if "val" in parts and "test" in parts:
            third = np.array([p == "val" for p in parts])
            gate.leave_out("of the validation part", int(third.sum()))
            order = order[~third[order]]
        origins["test"] = [p in ("test", "val") for p in parts]
    return origins, order


def _names(values: np.ndarray, name: str, gate: Gate | None) -> list[Any]:
    """Labels or groups: text in one spelling, whole numbers as such. `Refused` for labels that are measures."""
    if values.dtype == object:
        return [None if v is None else spelled(str(v)) for v in values]
    whole = bool(np.all(np.isnan(values) | (values == np.round(values))))
    if whole:
        return [None if np.isnan(v) else int(v) for v in values]
    if gate is not None:
        raise gate.refuse(
            f"The column '{name}' holds measures such as {values[values != np.round(values)][0]:g}, no classes.",
            "Name another: --columns label=NAME.",
        )
    return [f"{v:g}" for v in values]


def _parts(values: np.ndarray, name: str) -> list[str]:
    """'train', 'test' or 'val' of every row."""
    turned = "train" in name.casefold()
    if values.dtype != object:
        return ["test" if bool(v) != turned else "train" for v in np.nan_to_num(values)]
    yes = {"true", "yes", "1"}
    return [split_of(str(v)) or ("test" if (str(v).lower() in yes) != turned else "train") for v in values]


def _are_steps(
    origins: dict[str, list[Any]], keep: np.ndarray, timed: bool, reading: Reading, gate: Gate
) -> bool:
    """Whether rows are steps of recordings: where windows were asked for, or times stand beside long runs of labels."""
    known = {label: i for i, label in enumerate(dict.fromkeys(origins["labels"]))}
    codes = np.array([known[origins["labels"][i]] for i in keep.tolist()])
    lengths = [stop - start for start, stop in windows.runs(codes)] if codes.size else [0]
    long = float(np.median(lengths)) >= STEPS_A_LABEL
    if reading.window is not None:
        return True
    sorted_by_label = len(lengths) == len(known)
    if not timed and long and not sorted_by_label:
        gate.warn(
            f"Rows of one label follow one another ({int(np.median(lengths))} is usual) and were taken as a sample "
            "each: if they are steps of recordings, give --window, such as --window 128."
        )
    return timed and long


def _stretches(
    rows: np.ndarray, keep: np.ndarray, origins: dict[str, list[Any]], times: np.ndarray | None, in_seconds: bool
) -> tuple[list[Stretch], float | None]:
    """(stretches of one label, subject, file and so on without a gap, steps a second or None)."""
    groups = [name for name in ("labels", "subjects", "files", "tasks", "domains", "test") if name in origins]
    keys: dict[tuple, int] = {}
    codes = np.array([keys.setdefault(tuple(origins[g][i] for g in groups), len(keys)) for i in keep.tolist()])
    breaks = np.diff(codes) != 0
    rate = None
    if times is not None:
        steps = np.diff(times[keep])
        usual = steps[(steps > 0) & ~breaks]
        if usual.size:
            step = float(np.median(usual))
            breaks |= (steps > GAP * step) | (steps < 0)
            rate = 1 / step if in_seconds else None
    else:
        breaks |= np.diff(keep) != 1
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), keep.size]
    found = []
    for start, stop in pairwise(edges):
        here = keep[start:stop]
        origin: dict[str, Any] = {g: origins[g][here[0]] for g in groups if g != "labels"}
        origin["times"] = None if times is None else times[here]
        found.append(
            Stretch(stop - start, origins["labels"][here[0]], _loader(rows, here), f"row {int(here[0]) + 1}", origin)
        )
    return found, rate


def _loader(rows: np.ndarray, here: np.ndarray) -> Any:
    return lambda: rows[here].T.astype(np.float32)


def _convert_rows(
    rows: np.ndarray, keep: np.ndarray, origins: dict[str, list[Any]], target: Path, reading: Reading, gate: Gate,
    source: str,
) -> None:  # fmt: skip
    """Every row a sample [F]; uint8 where all values are whole and 0..255."""
    gate.kind = "features"
    values = rows[keep]
    small = values.size and values.min() >= 0 and values.max() <= 255 and (values == np.round(values)).all()
    facts = Origins(**{name: [column[i] for i in keep.tolist()] for name, column in origins.items()})
    if facts.test and len(set(facts.test)) < 2:
        facts.test = []
    with new_folder(target) as out:
        writer = DatasetWriter(out, (rows.shape[1], 1, 1), "uint8" if small else "float32", gate)
        for start in range(0, len(values), 4096):
            writer.append(values[start : start + 4096].astype(writer.dtype)[:, :, None, None])
        complete(writer, gate, facts, reading, source)

