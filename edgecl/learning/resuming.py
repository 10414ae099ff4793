"""Resuming a run: the options it began with, and whether a saved state is its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..config import Config
from ..data import Stream
from ..errors import BadInput, EdgeclError
from ..intake.front import saved_front
from ..storage import SampleStore
from ..storage.errors import StoreError
from .out_folder import essential, kept_options
from .parts import holds_store

# what a resumed run may change: budgets, who watches, and where the key lies
CHANGEABLE = (
    "ram", "flops", "energy", "energy_source", "seconds", "flash_writes_per_day",
    "max_temperature", "min_battery", "max_load", "root_key_file",
)  # fmt: skip


def resumed_options(folder: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The options of the run in ``folder`` with new budgets and the place of a store that was moved, and its last good
    state (None: it never got that far)."""
    old = kept_options(folder)
    changed = {k: v for k, v in options.items() if v is not None}
    for name in changed:
        moved = name == "store" and old.get("store") is not None  # which one it is, the saved state says
        same = name == "out" and Path(changed[name]).resolve() == folder.resolve()
        if name not in CHANGEABLE and not moved and not same:
            raise BadInput(
                f"--{name.replace('_', '-')} cannot change in a resumed run.", "Drop it, or start a new run."
            )
    saved = checkpoint.load(folder)
    if saved is None and (states := checkpoint.generations(folder)):
        checkpoint.read(states[-1])  # says what is wrong with it: to begin anew would overwrite it
    store = changed.get("store", old.get("store"))
    if saved is not None and store is not None and not holds_store(store):
        raise BadInput(f"The store of this run is not in '{store}'.", "Say where it is now: --store DIR.")
    return {
        **{k: v for k, v in old.items() if k not in changed},
        **changed,
        "out": str(folder),
    }, saved


def with_saved_front(options: Mapping[str, Any], saved: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """``options`` with the front as it was saved. Raises `BadInput` when what is here of that name is another."""
    state = None if saved is None else saved.get("front")
    if state is None or options.get("front") != state.get("name"):  # `check_resumable` says the latter
        return options
    return {**options, "front": saved_front(state)}


def data_facts(stream: Stream) -> dict[str, Any]:
    """What tells a stream's samples apart from others of the same name, shape and labels."""
    sizes = [[len(task.train), len(task.test)] for task in stream.tasks]
    return {"sizes": sizes, "mean": list(stream.mean), "std": list(stream.std)}


def joined(config: Config, stream: Stream, store: SampleStore | None, *parts: Mapping[str, Any]) -> dict[str, Any]:
    """A saved state: whose it is, and the states of its parts."""
    whose = {
        "identity": stream.identity,
        "config": essential(config.to_json(), CHANGEABLE),
        "store_id": None if store is None else store.id,
        "data": data_facts(stream),
    }
    for part in parts:
        whose.update(part)
    return whose


def check_resumable(saved: Mapping[str, Any], config: Config, stream: Stream, store: SampleStore | None) -> None:
    """Raise `BadInput` when a saved state is of another stream, configuration, data or store."""
    if saved["identity"] != stream.identity:
        raise BadInput("The saved state belongs to another stream.", "Resume with the stream the run began with.")
    facts = data_facts(stream)
    if saved.get("data", facts) != facts:
        raise BadInput(
            f"The data of '{config.stream}' has changed since the state was saved.", "Put it back, or start a new run."
        )
    now = essential(config.to_json(), CHANGEABLE)
    before = essential(saved.get("config", now), CHANGEABLE)
    if other := [name for name, value in before.items() if now.get(name) != value]:
        raise BadInput(
            f"The saved state was made with another {', '.join(other)} than '{config.out}/config.json' says.",
            "Put back what was there, or start a new run.",
        )
    if store is not None and saved.get("store_id", store.id) != store.id:
        raise BadInput(f"'{config.store}' is not the store that this run was saved with.", "Put that one in its place.")
    if store is not None and (gone := store.forgotten()):
        raise BadInput(
            f"Subject {gone[-1][0]} was forgotten by the run's store; its saved states and stream still hold it.",
            f"Remove '{config.out}', and start a new run on a stream without the subject.",
        )


@contextlib.contextmanager
def readable_store_errors(path: str | None) -> Iterator[None]:
    """Store errors of this block as user errors."""
    try:
        yield
    except StoreError as error:
        raise EdgeclError(error.cause, f"{error.remedy} (store: {path})") from error
