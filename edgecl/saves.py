"""Saves: where a learner's states are written, how they are sealed, and how one is read back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import checkpoint
from .erasure.overwriting import rewrite_saved
from .erasure.sealing import seal, unseal, without
from .errors import BadInput, EdgeclError
from .storage import RootKey, SampleStore, replacing
from .storage.jsonfile import read_json, write_json

_PLACE = "place.json"
STATE_FORMAT = 3  # of what a learner saves; 1 where it says none, 2 with every call in columns


class Saves:
    """Folders of saved states, and the store they go with.

    Parameters
    ----------
    path : the learner's own folder, or None
    root_key : of the store and of what is written; it is kept nowhere else

    folders : every folder saved to, whose states a subject must leave
    lineage : tells the states of this learner's life from those of others;  generation : how often it was saved
    """

    def __init__(self, path: str | Path | None, root_key: RootKey | None) -> None:
        self.path = None if path is None else Path(os.path.abspath(path))  # the process may change its folder
        self.root_key = root_key
        self.folders = set() if self.path is None else {self.path}
        self.store: SampleStore | None = None
        self.lineage, self.generation = secrets.token_hex(8), 0

    def check(self, store: str | None, keep: int) -> None:
        """Raise `BadInput` for what does not go with a learner that has this ``store`` and keeps so many states."""
        key = self.root_key
        if key is not None and not callable(getattr(key, "keys", None)):
            raise BadInput(f"root_key is a {type(key).__name__}.", "Give a storage.KeyFile or the like.")
        if key is not None and store is None:
            raise BadInput("A root_key was given without a store.", "Give store=.")
        if keep and (self.path is None or store is None):
            raise BadInput("States can be kept only with a path and a store.", "Give path= and store=.")

    @property
    def sealing(self) -> Any:
        """What seals saved states; None without a root key."""
        return None if self.store is None else self.store._sealing

    def sealed(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return seal({"format": STATE_FORMAT, **state}, self.sealing)

    def folder(self, path: str | Path | None) -> Path:
        """Where `save` writes to. Raises `BadInput` when nobody said."""
        folder = self.path if path is None else Path(os.path.abspath(path))
        if folder is None:
            raise BadInput("save() does not know where to write.", "Give save(path), or Learner(path=...).")
        return folder

    def write(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Save a state; every sample it names must be on flash."""
        self.folders.add(folder)
        checkpoint.save(folder, self.sealed(state))
        if self.store is not None and replacing.beside(self.store.path) is not None:
            replacing.done(self.store.path)  # a learner that did not take that state over has saved one of its own

    def state(self) -> dict[str, Any]:
        return {"lineage": self.lineage, "generation": self.generation}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, of this version or an earlier one."""
        self.lineage = str(state.get("lineage", self.lineage))
        self.generation = int(state.get("generation", 0))

    def forget_in_files(self, subject: int) -> list[str]:
        """Rewrite the saved states without a subject; a dropped key needs no rewriting."""
        return [] if self.sealing is not None else rewrite_saved(self.folders, subject)

    def opened(self, saved: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """(a saved state, unsealed, without the subjects that the store forgot after it was written; these)."""
        saved, found = unseal(saved, self.sealing), []
        known = {(int(s), float(at)) for s, at in saved["learner"].get("forgotten", ())}
        for subject, at in [] if self.store is None else self.store.forgotten():
            if (subject, at) not in known:
                saved, _ = without(saved, subject)
                found.append(subject)
                self.forget_in_files(subject)
        return saved, found


def place_store(folder: Path, store: str) -> None:
    """Note in a folder of saved states where their store lies, from there: a learner that moved finds it."""
    write_json(folder / _PLACE, {"store": store})


def placed_store(folder: str | Path) -> str | None:
    """The folder of the store that `place_store` noted, if any."""
    try:
        noted = read_json(Path(folder) / _PLACE)["store"]
        return str(Path(os.path.abspath(folder), str(noted)).resolve())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgeclError(f"'{Path(folder) / _PLACE}' cannot be read: {error}.", "Give the store's folder.") from error


def saved_learner(path: str | Path) -> dict[str, Any]:
    """The newest good state in ``path``. Raises `BadInput` where there is none, or one of a newer version."""
    saved = checkpoint.load(path)
    if saved is None or "learner" not in saved:
        raise BadInput(f"'{path}' holds no good saved learner.", "Give the folder that save() wrote to.")
    found = saved.get("format", 1)
    if not isinstance(found, int) or found > STATE_FORMAT:
        raise EdgeclError(
            f"The learner saved in '{path}' has format {found}; this edgecl reads up to {STATE_FORMAT}.",
            "Use a newer edgecl.",
        )
    return saved
