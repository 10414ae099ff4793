"""A learner trained anew, between the moment its store took the old one's place and the one its state is taken over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import EdgeclError
from ..storage import SampleStore, replacing


def pending(store: str | Path | None, saved: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The state that goes with a store which has just been replaced, if its learner, ``saved``, has not taken it over
    yet. Another learner's folder must not get it.
    """
    folder = None if store is None else replacing.beside(Path(store))
    if folder is None:
        return None
    state = checkpoint.load(folder)
    if state is None:
        raise EdgeclError(f"The learner trained anew cannot be read from {folder}.", "Make a new Learner, and save it.")
    about, ours = state["learner"], None if saved is None else saved["learner"].get("store_id")
    if ours is not None and ours not in (about["store_id"], *about.get("replaced", [ours])):
        raise EdgeclError(f"'{store}' is not the store that this learner was saved with.", "Give that one as store=.")
    return state


def take_over(store: SampleStore | None, folders: Iterable[Path], own: Path | None) -> None:
    """Every saved state in ``folders`` becomes the one that came with the new store, so do the kept ones in ``own``."""
    folder = None if store is None else replacing.beside(store.path)
    if store is None or folder is None:
        return
    state = checkpoint.load(folder)
    if state is None:
        raise EdgeclError(f"The learner trained anew cannot be read from {folder}.", "Make a new Learner, and save it.")
    for saved in folders:
        for _ in range(2):  # both generations
            checkpoint.save(saved, state)
    if own is not None:
        for path in own.glob("kept-*.safetensors"):
            path.unlink()
        for path in folder.glob("kept-*.safetensors"):
            checkpoint.write(own / path.name, checkpoint.read(path))
    replacing.done(store.path)


def replaced_stores(store: SampleStore) -> list[str]:
    """Ids of the stores in whose place this one stands."""
    found = store.meta_get("replaced")
    return [] if found is None else json.loads(found)


def check_store(store: SampleStore | None, saved: Mapping[str, Any]) -> None:
    """Refuse a state that does not belong to the store: ids in it mean other samples there."""
    expected = saved["learner"].get("store_id")
    if store is None or expected in (None, store.id):
        return
    if expected in replaced_stores(store):
        raise EdgeclError(
            "This state was saved before its learner was trained anew without a subject.",
            "Open the folder that the learner was saved to then, or later.",
        )
    raise EdgeclError(f"'{store.path}' is not the store that this learner was saved with.", "Give that one as store=.")
