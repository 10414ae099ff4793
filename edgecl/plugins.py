"""Plugins: bringing them in by file or module, what saved states and records note of them, whose fault a failure is.

No file names code to import. A state or a record says which packages it needs; whether they are imported is for the
person at the command line, or for what is installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .choices import CHOICES, Choice
from .data.streams import STREAMS
from .errors import BadInput, EdgeclError
from .registry import Origin

_NAMED = (*CHOICES, Choice("stream", STREAMS))


class PluginError(EdgeclError):
    """A class that is not edgecl's failed; the cause names it, its origin and the hook that raised."""


def use(what: str | Path | Iterable[str | Path] | None) -> None:
    """Import files (``FILE.py``) or modules (``package.module``), so that what they register can be named.

    A file is imported once a process. Raises `BadInput` when there is none, `PluginError` when it cannot be imported.
    """
    for one in () if what is None else (what,) if isinstance(what, (str, Path)) else what:
        name = str(one)
        if name.endswith(".py") or "/" in name:
            _import_file(Path(name))
        else:
            _import_module(name)


def _import_module(name: str) -> None:
    try:
        if not all(part.isidentifier() for part in name.split(".")) or importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
        importlib.import_module(name)
    except EdgeclError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):  # itself or a package it would lie in
            raise BadInput(
                f"There is no module '{name}' to use.", "Give a file (FILE.py), or a module that Python can import."
            ) from error
        raise _cannot_import(name, error) from error


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"There is no file '{path}' to use.", "Check the path.")
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"  # two files of one name are two modules
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"'{path}' is no Python file.", "Give a FILE.py.")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception) and not isinstance(error, EdgeclError):
            raise _cannot_import(str(path), error) from error
        raise


def _cannot_import(name: str, error: Exception) -> PluginError:
    return PluginError(f"'{name}' cannot be imported: {type(error).__name__}: {error}.", "Repair it.")


def provenance(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of a configuration's choices is not edgecl's own: option, kind and name of each, and its `Origin`. Plain
    values, for a saved state or a record."""
    found = []
    for choice in _NAMED:
        name = config.get(choice.option)
        if not isinstance(name, str) or (choice.option == "stream" and Path(name).exists()):
            continue
        if name in choice.registry and (origin := choice.registry.origin(name)) is not None:
            found.append({"option": choice.option, "kind": choice.registry.kind, "name": name, **origin._asdict()})
    return found


def check_provenance(saved: Iterable[Mapping[str, Any]], what: str = "saved state") -> list[str]:
    """Whether what `provenance` noted can be had here; what differs, one sentence each (and as warnings).

    To be called before the configuration itself is read. Raises `BadInput` for what is not there, naming package, entry
    point and version.
    """
    different = []
    for entry in saved:
        if not isinstance(entry, Mapping) or not all(isinstance(v, str) or v is None for v in entry.values()):
            raise BadInput(f"What plugins this {what} needs cannot be read.", "Use a file as edgecl wrote it.")
        option, name = entry.get("option"), str(entry.get("name"))
        choice = next((c for c in _NAMED if c.option == option), None)
        then = Origin(str(entry.get("module")), *(entry.get(key) for key in ("package", "version", "entry_point")))
        if choice is None or name not in choice.registry:
            raise _missing(f"{entry.get('kind')} '{name}'", then, what)
        now = choice.registry.origin(name)
        if now is None or then.package is None or (now.package, now.version) == (then.package, then.version):
            continue
        different.append(f"The {choice.registry.kind} '{name}' of this {what} was that of {then}; here it is of {now}.")
    for sentence in different:
        warnings.warn(sentence, UserWarning, 2)
    return different


def _missing(which: str, then: Origin, what: str) -> BadInput:
    if then.package is None:
        return BadInput(
            f"This {what} needs the {which}, which module {then.module} registered; nothing here has that name.",
            "Give that file or module: --use FILE.py, or use= in Python.",
        )
    return BadInput(
        f"This {what} needs the {which} of {then}, which is not installed.",
        "Install it, or give a file that registers it: --use FILE.py, or use= in Python.",
    )


class guard_plugin:
    """``with guard_plugin(method, "train_step"): ...``: what a class that is not ours raises becomes a `PluginError`
    that names class, origin and hook. Errors of edgecl itself, and those of our own classes, pass as they are.
    """

    __slots__ = ("hook", "plugin")

    def __init__(self, plugin: Any, hook: str) -> None:
        self.plugin, self.hook = plugin, hook

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        cls = type(self.plugin)
        if not isinstance(error, Exception) or isinstance(error, EdgeclError) or is_ours(cls):
            return
        label, origin = _about(cls)
        raise PluginError(
            f"{label} of {origin} failed in {self.hook}: {type(error).__name__}: {error}.",
            "Report it to its author; what was learned up to the last step is kept.",
        ) from error


def is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == __package__


def _about(cls: type) -> tuple[str, str]:
    """(The class in words, where it comes from)."""
    for choice in _NAMED:
        for name, entry in choice.registry.loaded():
            if entry is cls:
                return f"The {choice.registry.kind} '{name}'", str(choice.registry.origin(name))
    return f"{cls.__qualname__}", f"module {cls.__module__}"
