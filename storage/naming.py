"""Names of classes, in a file of their own: it can be overwritten, which pages of the index cannot.

A name that the samples of one subject alone have is personal as they are: it goes when the subject is forgotten, and in
an encrypted store it is sealed with the subject's key. Written twice, so that damage of one file loses no name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .amending import Amending
from .bounded import parse_json
from .errors import StoreDamaged, io_error
from .files import changes, typed
from .jsonfile import read_json, write_json
from .whole import zeros_over

FILES = ("names.json", "names-copy.json")
Name = str | int | None  # None: a class without one
_BEFORE = "labels"  # the value that held them before they had a file
_NOBODY = -1
_KIND = b"n"


@dataclass(frozen=True)
class ClassNames:
    """names : of classes 0, 1, 2 ...;  sole : {class: subject} where all samples that had the name are one subject's"""

    names: list[Name] = field(default_factory=list)
    sole: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A name as it stands in the files. at: the next id when its owner was noted;  shut: how it is written."""

    name: Name
    owner: int = _NOBODY
    at: int = 0
    shut: Any = None


class Naming(Amending):
    """Keeps the names of classes."""

    _named: list[Entry] | None  # as on flash; None: not read yet

    @typed
    def class_names(self) -> ClassNames:
        """What `name_classes` set last, without what was forgotten."""
        self._check()
        entries = self._entries_named()
        owned = {k: e.owner for k, e in enumerate(entries) if e.owner >= 0 and e.name is not None}
        return ClassNames([e.name for e in entries], owned)

    @changes
    def name_classes(self, names: Sequence[Name], sole: Mapping[int, int]) -> None:
        """Sets the names of classes 0, 1, 2 ..., and whose alone they are; on flash when it returns."""
        with self._lock:
            before, entries = self._entries_named(), []
            for number, name in enumerate(names):
                owner = sole.get(number, _NOBODY)
                known = before[number] if number < len(before) else None
                same = known is not None and (known.name, known.owner) == (name, owner)
                entries.append(known if known is not None and same else Entry(name, owner, self._index.physical_next))
            gone = {e.name for e in before} - {None, *names}
            self._write_names(entries, erase=bool(gone))

    def _forget_names(self, subject: int, below: int | None) -> list[str]:
        """Names that are a subject's alone go, those given before an id or all; the files that were rewritten."""
        entries = self._entries_named()
        theirs = [e.owner == subject and e.name is not None and (below is None or e.at < below) for e in entries]
        if not any(theirs):
            return []
        self._write_names([Entry(None) if t else e for t, e in zip(theirs, entries)], erase=True)
        return list(FILES)

    def _mend_names(self) -> None:
        """At an opening: both files say the same again, where a crash came between or one cannot be used."""
        found, _ = self._read_names()
        sound = next((entries for entries in found if entries is not None), None)
        if found[0] != found[1]:
            self._write_names(sound or [], erase=True)
        elif sound is not None:
            self._named = sound

    def _write_names(self, entries: list[Entry], erase: bool) -> None:
        entries = [e if e.shut is not None else replace(e, shut=self._shut(e.name, e.owner)) for e in entries]
        rows = [[e.shut, e.owner, e.at] for e in entries]
        for name in FILES:
            path = self.path / name
            try:
                with zeros_over(path) if erase else nullcontext():
                    write_json(path, {"store": self._description.store.hex(), "names": rows})
            except OSError as error:
                raise io_error(error, f"'{path}' cannot be written") from error
        if self._db.meta(_BEFORE) is not None:
            self._commit(meta={_BEFORE: None})
            self._keep_values()
        self._named = entries

    def _shut(self, name: Name, owner: int) -> Any:
        """A name as it is written: sealed in an encrypted store where it is one subject's."""
        if self._sealing is None or owner < 0 or name is None:
            return name
        self._sealing.keys.need([owner])
        text = self._sealing.keys.seal(owner, json.dumps(name).encode(), _bound(owner))
        return {"sealed": base64.b64encode(text).decode()}

    def _opened(self, shut: Any, owner: int) -> Name:
        """The inverse of `_shut`; None where the key is gone."""
        value = shut
        if isinstance(shut, dict):
            if self._sealing is None:
                raise ValueError("a name is sealed in a store that is not")
            text = self._sealing.keys.open(owner, base64.b64decode(shut["sealed"]), _bound(owner))
            value = None if text is None else parse_json(text)
        if not _is_name(value):
            raise ValueError(f"{value!r} is no name")
        return value

    def _entries_named(self) -> list[Entry]:
        if self._named is None:
            found, failed = self._read_names()
            sound = [entries for entries in found if entries is not None]
            paths = " and ".join(f"'{self.path / name}'" for name in FILES)
            if not sound and failed is not None:
                raise io_error(failed, f"{paths} cannot be read") from failed
            if not sound and any((self.path / name).exists() for name in FILES):
                raise StoreDamaged(f"{paths} are damaged.", "Restore one of them from a copy of the store.")
            self._named = sound[0] if sound else self._names_before()
        return self._named

    def _read_names(self) -> tuple[list[list[Entry] | None], OSError | None]:
        """What each file holds, None where it cannot be used; why the device did not give one."""
        found: list[list[Entry] | None] = []
        failed = None
        for name in FILES:
            try:
                found.append(self._names_in(self.path / name))
            except OSError as error:
                found.append(None)
                failed = error
        return found, failed

    def _names_in(self, path: Path) -> list[Entry] | None:
        """What a file holds; None where it is missing or damaged. Raises `OSError`."""
        try:
            kept = read_json(path)
            if kept["store"] != self._description.store.hex():  # the store that this one has replaced
                return []
            rows = [(shut, int(owner), int(at)) for shut, owner, at in kept["names"]]
            if any(not _NOBODY <= owner < 2**31 or at < 0 for _, owner, at in rows):
                raise ValueError("an owner is out of bounds")
            return [Entry(self._opened(shut, owner), owner, at, shut) for shut, owner, at in rows]
        except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def _names_before(self) -> list[Entry]:
        """Those of a store that kept them among its small values; whose they are, its samples say."""
        try:
            names = parse_json(self._db.meta(_BEFORE) or b"[]")
            if not isinstance(names, list) or not all(map(_is_name, names)):
                return []
        except ValueError:  # another's value
            return []
        people = {s: self._index.ids_of_subject(s) for s in (self._index.subjects() if names else ()) if s >= 0}
        owners = []
        for number in range(len(names)):
            ids = self._index.ids_of_class(number)
            alone = (s for s, theirs in people.items() if len(ids) and np.isin(ids, theirs).all())
            owners.append(next(alone, _NOBODY))
        return [Entry(name, owner) for name, owner in zip(names, owners)]


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int)) and not isinstance(value, bool))


def _bound(owner: int) -> bytes:
    return _KIND + owner.to_bytes(4, "little")
