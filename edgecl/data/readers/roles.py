"""Which column of a table says what: by name, else by content; and the unit of a column of times."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import numpy as np

from ..gate import Gate
from ..options import Reading
from .csvfile import Table

NAMES = {
    "label": ("label", "labels", "class", "classes", "target", "activity", "category", "y", "gesture", "fault"),
    "subject": ("subject", "subject_id", "user", "user_id", "person", "participant", "speaker", "patient", "volunteer"),
    "time": ("time", "timestamp", "t", "datetime", "date", "time_s", "time_ms", "time_us", "time_ns", "seconds",
             "timestamp_ms", "timestamp_us", "timestamp_ns", "ms", "millis"),
    "task": ("task", "experience"),
    "split": ("split", "partition", "subset", "set", "is_test", "test", "is_train", "train"),
    "domain": ("domain", "device", "site", "environment"),
    "file": ("file", "filename", "recording", "recording_id", "sequence", "series", "series_id", "trial", "session"),
}  # fmt: skip
COUNTERS = {"", "id", "index", "idx", "row", "sample", "unnamed: 0", "nr", "no"}
FEW_LABELS = 50  # different values of a last column that may be taken for labels


def find_roles(table: Table, reading: Reading, gate: Gate) -> tuple[dict[str, str], list[str]]:
    """({role: column}, columns of the samples). Raises `Refused` where no column can be the label."""
    given = reading.roles
    samples = given.pop("x", None)
    for name in [*given.values(), *(samples.split("+") if samples else [])]:
        if name not in table.columns:
            raise gate.refuse(f"There is no column '{name}'.", f"Columns: {', '.join(table.columns)}.")
    roles = dict(given)
    folded = {name.strip().casefold(): name for name in table.columns}
    for role, names in NAMES.items():
        if role not in roles:
            found = next((folded[n] for n in names if n in folded and folded[n] not in roles.values()), None)
            if found is not None:
                roles[role] = found
    if "label" not in roles:
        roles["label"] = _last_as_label(table, roles, gate)
    if samples is not None:
        chosen = samples.split("+")
        if texts := [name for name in chosen if table.columns[name].dtype == object]:
            raise gate.refuse(f"The column '{texts[0]}' holds text.", "Samples are numbers.")
        return roles, chosen
    return roles, _sample_columns(table, roles, gate)


def _last_as_label(table: Table, roles: dict[str, str], gate: Gate) -> str:
    name = list(table.columns)[-1]
    values = table.columns[name]
    different = len(set(values.tolist()))
    whole = values.dtype == object or bool(np.all(np.isnan(values) | (values == np.round(values))))
    if name in roles.values() or not whole or not 2 <= different <= max(FEW_LABELS, table.rows // 20):
        raise gate.refuse(
            f"No column seems to be the label; there are {', '.join(list(table.columns)[:20])}.",
            "Name it: --columns label=NAME.",
        )
    gate.note(f"the last column, '{name}', taken as the label")
    return name


def _sample_columns(table: Table, roles: dict[str, str], gate: Gate) -> list[str]:
    """Columns of numbers without a role; text and counters of rows are left out, and that is said."""
    chosen, texts, counters = [], [], []
    for name, values in table.columns.items():
        if name in roles.values():
            continue
        if values.dtype == object:
            texts.append(name)
        elif name.strip().casefold() in COUNTERS and len(values) > 2 and (np.diff(values) == 1).all():
            counters.append(name)
        else:
            chosen.append(name)
    if texts:
        gate.warn(f"Columns of text are not used: {', '.join(texts)}.")
    if counters:
        gate.note(f"row counters not used: {', '.join(counters)}")
    if not chosen:
        raise gate.refuse("No column holds numbers for the samples.", "Name them: --columns x=A+B+C.")
    return chosen


def seconds(values: np.ndarray, name: str) -> tuple[np.ndarray | None, bool]:
    """(float64 [n] in seconds, whether the unit is known); None where the column holds no times.

    Numbers are seconds where they step by less than one or are as large as seconds since 1970 are; milli-, micro- and
    nanoseconds by the column's name or by size.
    """
    if values.dtype == object:
        try:
            stamps = [datetime.fromisoformat(str(v).strip()) for v in values]
        except ValueError:
            return None, False
        zoned = [s if s.tzinfo else s.replace(tzinfo=timezone.utc) for s in stamps]
        return np.array([s.timestamp() for s in zoned]), True
    suffix = re.search(r"(?:^|[_ (\[])(ns|us|ms|millis|s|sec|seconds)[)\]]?$", name.strip().casefold())
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "millis": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
    if suffix is not None:
        return values * units[suffix[1]], True
    largest = np.nanmax(np.abs(values)) if values.size else 0.0
    for low, unit in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e8, 1.0)):  # as of 1973, to far from now
        if largest >= low:
            return values * unit, True
    steps = np.diff(values)
    steps = steps[steps > 0]
    known = bool(steps.size) and float(np.median(steps)) < 1
    return values, known
