"""A folder of class folders, whatever its files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..child import job
from ..gate import Gate
from ..naming import is_system_file, is_system_folder, natural_key
from ..options import Reading
from .walk import Entry, kind_of, walk


@job
def convert_folder(path: str | Path, target: str | Path, reading: Mapping[str, Any] | None = None) -> Path:
    """Every file becomes a sample, or several, with its folder's name as the label.

    reading : `Reading.to_json`. Raises `Refused`, which names all files that cannot be read, and BadInput.
    """
    root, read = Path(path), Reading.from_json(reading or {})
    gate = Gate(root, read.skip_broken)
    flat = _tables_alone(root)
    entries, kind = (flat, "tables") if flat else _of_one_kind(walk(root, gate, read.folders), gate)
    if kind == "pictures":
        from .pictures import convert_pictures

        convert_pictures(entries, Path(target), read, gate)
    elif kind == "sounds":
        from .sounds import convert_sounds

        convert_sounds(entries, Path(target), read, gate)
    else:
        from .tables import convert_table_files

        convert_table_files(entries, Path(target), read, gate)
    return Path(target)


def _tables_alone(root: Path) -> list[Entry]:
    """Tables right in ``root`` where there are no folders beside them: their own columns name the classes."""
    inside = sorted(root.iterdir(), key=lambda p: natural_key(p.name))
    if any(p.is_dir() and not is_system_folder(p) for p in inside):
        return []
    tables = [p for p in inside if kind_of(p) == "tables" and not is_system_file(p)]
    return [Entry(file, "tables", "", None) for file in tables]


def _of_one_kind(entries: list[Entry], gate: Gate) -> tuple[list[Entry], str]:
    """The entries of the most frequent kind; arrays may stand among pictures. The others are left out, by class."""
    counts = Counter(entry.kind for entry in entries)
    kind = counts.most_common(1)[0][0]
    if set(counts) <= {"pictures", "arrays"}:
        return entries, "pictures"
    classes = {entry.label for entry in entries if entry.kind == kind}
    for entry in entries:
        if entry.kind == "tables" != kind and entry.label in classes:  # notes beside the samples
            gate.leave_out(f"no sample ({entry.file.suffix.lower()})")
        elif entry.kind != kind:
            gate.broken(entry.file, f"not of the {kind} that the others are", entry.label)
    return [entry for entry in entries if entry.kind == kind], kind
