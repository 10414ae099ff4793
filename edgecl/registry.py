"""Registry: what a run chooses by name. Our own classes, those of installed packages, those a program registers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import BadInput, EdgeclError, unknown_name

CONTRACT = 1  # of what is registered: a class with another number is refused
T = TypeVar("T")


class Origin(NamedTuple):
    """Where an entry that is not edgecl's own comes from.

    module : that defines it;  package, version, entry_point : of the installed distribution that offers it, None when a
    program registered it itself
    """

    module: str
    package: str | None = None
    version: str | None = None
    entry_point: str | None = None

    def __str__(self) -> str:
        if self.package is None:
            return f"module {self.module}"
        return f"package {self.package} {self.version}, entry point {self.entry_point}"


class Registry(Generic[T]):
    """Names to classes (or functions) of one kind.

    >>> METHODS = Registry("method", "edgecl.methods")
    >>> @METHODS.register
    ... class Mine(ER):
    ...     name = "mine"

    Installed packages offer theirs as entry points of ``group``; the entry point's name is the entry's, and the class,
    or the module that defines it, says ``contract = 1``. Listing names reads only the packages' metadata; a package's
    code is imported when one of its names is asked for.

    base : class that every registered class must be derived from, or None
    """

    def __init__(self, kind: str, group: str, base: type | None = None) -> None:
        self.kind, self.group, self.base = kind, group, base
        self._entries: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}
        self._read: tuple[Any, dict[str, list[Any]]] | None = None  # entry points, and the folders they were read from

    # -- adding

    def register(self, entry: Any = None, /, *, name: str | None = None) -> Any:
        """Add ``entry`` under its ``name``; a decorator. The same class, defined again, takes its own place.

        Raises `BadInput` for a name that is taken, or an entry made for another contract.
        """
        if entry is None:
            return lambda later: self.register(later, name=name)
        key = self._checked_name(entry, name)
        now, module = self._entries.get(key), _module(entry, sys._getframe(1).f_globals["__name__"])
        if now is not None and now is not entry and _place(now) != _place(entry):
            raise BadInput(
                f"The {self.kind} '{key}' of module {module} has the name of one that is there "
                f"({self._origins.get(key) or 'edgecl'}).",
                "Give it another name.",
            )
        if module.partition(".")[0] != __package__:
            self._check(entry, f"module {module}", declared=False)
            self._origins[key] = Origin(module)
        self._entries[key] = entry
        return entry

    def _checked_name(self, entry: Any, name: str | None) -> str:
        key = getattr(entry, "name", "") if name is None else name
        if not isinstance(key, str) or not key or any(c.isspace() or c in "=/" for c in key):
            what = getattr(entry, "__name__", repr(entry))
            raise BadInput(f"{what} has no name to be registered under.", f"Give the {self.kind} a `name` of one word.")
        return key

    def _check(self, entry: Any, place: str, declared: bool = True) -> None:
        """Refuse what was made for another contract, or is no class of the kind. ``declared``: it must say which."""
        contract = contract_of(entry)
        if contract != CONTRACT and (declared or contract is not None):
            about = "does not say its contract" if contract is None else f"was made for contract {contract}"
            raise BadInput(
                f"The {self.kind} '{getattr(entry, 'name', entry)}' of {place} {about}; this edgecl has {CONTRACT}.",
                f"Install a version of it for contract {CONTRACT}, or set `contract = {CONTRACT}` in it.",
            )
        if self.base is not None and not (isinstance(entry, type) and issubclass(entry, self.base)):
            raise BadInput(
                f"The {self.kind} '{getattr(entry, 'name', entry)}' of {place} is no class derived from "
                f"{self.base.__name__}.",
                f"Derive it from {self.base.__module__}.{self.base.__name__}.",
            )

    # -- asking

    def names(self) -> tuple[str, ...]:
        """Names that can be asked for: ours in their order, then those of packages and programs."""
        return tuple(dict.fromkeys([*self._entries, *sorted(self._offered())]))

    def get(self, name: str) -> T:
        """The entry called ``name``. Raises `BadInput` for an unknown one, `EdgeclError` when its package fails."""
        if name not in self._entries:
            self._import(name)
        return self._entries[name]

    def origin(self, name: str) -> Origin | None:
        """Where the entry comes from; None for edgecl's own."""
        self.get(name)
        found = self._origins.get(name)
        if found is not None and found.package is None:  # registered by a module that a package may also offer
            place = "{}:{}".format(*_place(self._entries[name]))
            for point in self._offered().get(name, ()):
                if point.value.replace(" ", "") == place:
                    self._origins[name] = found = _origin(point, self.group)
        return found

    def loaded(self) -> Iterator[tuple[str, T]]:
        """(name, entry) of all that are in memory; imports nothing."""
        return iter(list(self._entries.items()))

    def load_all(self) -> list[EdgeclError]:
        """Import what every package offers; what went wrong, one error a name."""
        failed = []
        for name in self.names():
            try:
                self.get(name)
            except EdgeclError as error:
                failed.append(error)
        return failed

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._offered()

    # -- packages

    def _offered(self) -> dict[str, list[Any]]:
        """Entry points of the group by name, of every installed package."""
        from importlib.metadata import entry_points  # 10 ms that a run with our own names need not pay

        places = _places()
        if self._read is None or self._read[0] != places:
            found: dict[str, list[Any]] = {}
            for point in entry_points(group=self.group):
                found.setdefault(point.name, []).append(point)
            self._read = places, found
        return self._read[1]

    def _import(self, name: str) -> None:
        """Bring in the entry that a package offers under ``name``."""
        offered = self._offered()
        if name not in offered:
            raise unknown_name(self.kind, name, {*self._entries, *offered})
        origins = [_origin(point, self.group) for point in offered[name]]
        if len(origins) > 1:
            both = " and ".join(f"{o.package} {o.version}" for o in origins)
            raise BadInput(f"Two packages offer a {self.kind} '{name}': {both}.", "Uninstall one of them.")
        (point,), (origin,) = offered[name], origins
        try:
            entry: Any = import_module(point.module)
            for part in filter(None, (point.attr or "").split(".")):
                entry = getattr(entry, part)
        except EdgeclError as error:
            raise type(error)(f"{self._cannot(name, origin)}: {error.cause}", error.remedy) from error
        except Exception as error:
            raise EdgeclError(
                f"{self._cannot(name, origin)}: {type(error).__name__}: {error}.",
                f"Repair or uninstall {origin.package}; other names work without it.",
            ) from error
        self._check(entry, str(origin))
        own = getattr(entry, "name", name)
        if own != name:
            raise BadInput(
                f"The entry point '{origin.entry_point}' of {origin.package} {origin.version} gives a {self.kind} "
                f"that calls itself '{own}'.",
                "Give both one name.",
            )
        if name in self._entries and _place(self._entries[name]) != _place(entry):  # its module registered another
            raise BadInput(f"{origin} gives another {self.kind} '{name}' than its module.", "Give one of them.")
        self._entries[name] = entry
        self._origins[name] = origin

    def _cannot(self, name: str, origin: Origin) -> str:
        return f"The {self.kind} '{name}' of {origin} cannot be imported"


def _places() -> tuple[tuple[str, int], ...]:
    """Folders that packages are installed in, each with the time of its last change."""
    return tuple((folder, os.stat(folder).st_mtime_ns) for folder in sys.path if os.path.exists(folder))


def _origin(point: Any, group: str) -> Origin:
    return Origin(point.module, point.dist.name, point.dist.version, f"{group}:{point.name}")


def contract_of(entry: Any) -> Any:
    """The number that a plugin's class or its module states itself: what a base of ours says is ours, not its."""
    for cls in getattr(entry, "__mro__", (entry,)):
        if "contract" in vars(cls) and _module(cls, "").partition(".")[0] != __package__:
            return vars(cls)["contract"]
    return getattr(sys.modules.get(_module(entry, "")), "contract", None)


def _module(entry: Any, caller: str) -> str:
    """The module that defines a class or function; of any other value, that of the caller who registers it."""
    return entry.__module__ if hasattr(entry, "__qualname__") else caller


def _place(entry: Any) -> tuple[str, str]:
    return getattr(entry, "__module__", ""), getattr(entry, "__qualname__", f"<{type(entry).__name__}>")
