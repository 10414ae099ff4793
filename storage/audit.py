"""Whether what a receipt of forgetting says holds, from the files alone: nothing is opened, locked or changed.

Every segment, whatever names it, is read record by record, as are field files and what was set aside; a damaged index
or a missing one hides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _storage, aside
from .errors import BadRecord, StoreError, io_error
from .field_recovery import read_field_file
from .forgetting import FILE, KEY_DROPPED, OVERWRITTEN
from .jsonfile import read_json
from .keys import FILE as KEYS
from .layout import HEADER_BYTES, SAMPLES, Description, Header
from .naming import FILES as NAMES
from .whole import SUFFIX


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, whether it is as the receipt says, and what was found."""

    what: str
    holds: bool
    found: str


def audit(receipt: Mapping[str, Any], folder: str | os.PathLike[str] | None = None) -> list[Finding]:
    """Looks at the store of a receipt, where it names it or in ``folder``. Raises `BadRecord` for what is no receipt,
    `StoreError` where there is no store or it cannot be read.
    """
    subject, below, holds = _read(receipt)
    place = Path(folder if folder is not None else str(receipt.get("place", "")))
    if folder is None and not receipt.get("place"):
        raise BadRecord("The receipt names no store.", "Say where it is: --store DIR.")
    try:
        description = Description.read(place)
        if description is None:
            raise StoreError(f"There is no store in '{place}'.", "Say where it is: --store DIR.")
        return list(_look(place, description, receipt, subject, below, holds))
    except OSError as error:
        raise io_error(error, f"The store '{place}' cannot be read") from error


def _read(receipt: Mapping[str, Any]) -> tuple[int, int, str]:
    try:
        subject, below, holds = receipt["subject"], receipt["below"], receipt["holds"]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (subject, below))
        if not whole or holds not in (KEY_DROPPED, OVERWRITTEN):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise BadRecord(
            "This is no receipt of forgetting from a store.", "Give what `edgecl store forget --json` printed."
        ) from None
    return subject, below, holds


def _look(place: Path, description: Description, receipt: Mapping[str, Any], subject: int, below: int, holds: str):  # type: ignore[no-untyped-def]
    named = str(receipt.get("store", ""))
    yield Finding("the store is the receipt's", named in ("", description.store.hex()), description.store.hex())
    notes = [n for n in (read_json(place / FILE) if (place / FILE).exists() else []) if int(n[0]) == subject]
    done = any(bool(n[3]) and int(n[1]) >= below for n in notes)
    yield Finding("the request is noted as ended", done, f"{len(notes)} notes of the subject")
    records, later, unsound = _records(place, description, subject, below)
    named, named_later = _names(place, subject, below)
    if holds == KEY_DROPPED:
        later += named_later
        kept = str(subject) in read_json(place / KEYS)["wrapped"] if (place / KEYS).exists() else False
        yield Finding("the subject's key is gone", not kept or later > 0, "there is a newer one" if kept else "none")
    else:
        yield Finding("no record of the subject is in a segment", records == 0, f"{records} records")
        yield Finding("no record is damaged, which could be the subject's", unsound == 0, f"{unsound} records")
        values = _values(place, description, np.array(receipt.get("ids", ()), np.int64))
        yield Finding("no field value of its samples is in a file", values == 0, f"{values} values")
    yield Finding("no name of a class is the subject's alone", named == 0, f"{named} names")
    left = sorted(p.name for p in place.rglob("*") if p.name.endswith((SUFFIX, ".gone")))
    yield Finding("nothing half-written is left", not left, ", ".join(left[:5]) or "none")


def _records(place: Path, description: Description, subject: int, below: int) -> tuple[int, int, int]:
    """Sound records of the subject below the id and from it on, and damaged records."""
    old = later = unsound = 0
    for path in [*sorted((place / "segments").glob("*.seg")), *aside.files(place)]:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head, size = Header.read(fd), os.fstat(fd).st_size
            if head is None or head.kind != SAMPLES or head.store != description.store:
                unsound += size > HEADER_BYTES
                continue
            scan = _storage.scan_samples(fd, HEADER_BYTES, size, head.payload, description.codec.variable, head.crc)
            ok, rel, _, subjects = (np.asarray(a) for a in scan[:4])
            mine = (ok > 0) & (subjects == subject)
            before = head.first_id + rel.astype(np.int64) < below
            old, later = old + int((mine & before).sum()), later + int((mine & ~before).sum())
        finally:
            os.close(fd)
    return old, later, unsound


def _names(place: Path, subject: int, below: int) -> tuple[int, int]:
    """Names that the subject alone has, given before the id and from it on; a damaged file counts as one of before."""
    old = later = 0
    for path in (place / name for name in NAMES):
        try:
            kept = read_json(path)["names"]
            theirs = [int(at) < below for name, owner, at in kept if int(owner) == subject and name is not None]
            old, later = old + sum(theirs), later + len(theirs) - sum(theirs)
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):
            old += 1
    return old, later


def _values(place: Path, description: Description, ids: np.ndarray) -> int:
    n = 0
    for path in sorted((place / "segments").glob("*.fld")):
        n += int(np.isin(read_field_file(place / "segments", int(path.stem, 16), description).ids, ids).sum())
    return n
