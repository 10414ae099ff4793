"""Replacing a store by one that was made beside it: whole before, whole after, whatever dies in between.

The new store is built in ``retrained/store`` inside the folder of the old one. `commit` is the moment at which it
counts: an opening before it removes what was built so far, an opening after it moves the new files over the old ones
first. What the caller put in ``retrained/beside`` stays until `done`. A reader beside the owner may have to look again
while files are moved.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .errors import io_error
from .files import Lock
from .jsonfile import write_json
from .whole import sync_directory

FOLDER = "retrained"
_COMMITTED = "committed.json"
Call = TypeVar("Call", bound=Callable[..., Any])


def _typed(call: Call) -> Call:
    @functools.wraps(call)
    def wrapper(store: Path) -> Any:
        try:
            return call(store)
        except OSError as error:
            raise io_error(error, f"Replacing the store '{store}' failed") from error

    return wrapper  # type: ignore[return-value]


@_typed
def begin(store: Path) -> tuple[Path, Path]:
    """Empty folders for the new store and for what belongs to it."""
    shutil.rmtree(store / FOLDER, ignore_errors=True)
    new, beside = store / FOLDER / "store", store / FOLDER / "beside"
    new.mkdir(parents=True)
    beside.mkdir()
    return new, beside


@_typed
def commit(store: Path) -> None:
    """The new store, closed and on flash, takes the place of the old one at its next opening."""
    sync_directory(store / FOLDER / "store")
    sync_directory(store / FOLDER / "beside")
    sync_directory(store / FOLDER)
    write_json(store / FOLDER / _COMMITTED, {})


@_typed
def finish(store: Path) -> None:
    """At an opening, by the owner: bring what was committed into place, remove what was not."""
    folder = store / FOLDER
    if not folder.exists():
        return
    if not (folder / _COMMITTED).exists():
        shutil.rmtree(folder)
        return
    new = folder / "store"
    if new.exists():
        for name in sorted(os.listdir(new)):
            if name == Lock.NAME:  # the owner holds the old one
                continue
            if (store / name).is_dir():
                shutil.rmtree(store / name)
            os.replace(new / name, store / name)
        sync_directory(store)
        shutil.rmtree(new)


@_typed
def beside(store: Path) -> Path | None:
    """What came with the store that was put in place last, until `done`; None when there is nothing."""
    folder = store / FOLDER / "beside"
    return folder if (store / FOLDER / _COMMITTED).exists() and folder.exists() else None


@_typed
def done(store: Path) -> None:
    """What came with the new store has been taken over."""
    (store / FOLDER / _COMMITTED).unlink(missing_ok=True)
    sync_directory(store / FOLDER)
    shutil.rmtree(store / FOLDER)


@_typed
def committed(store: Path) -> bool:
    """Whether `commit` was reached."""
    return (store / FOLDER / _COMMITTED).exists()
