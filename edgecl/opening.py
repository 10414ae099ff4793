"""Opening a saved learner: its newest good state, the plugins it needs, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import plugins
from .budget import Budget
from .erasure.pending import pending
from .errors import BadInput
from .former_names import present_names
from .learning.parts import holds_store
from .planning.setup import Setup, setup_from
from .saves import placed_store, saved_learner


def open_saved(
    path: str | Path, store: str | Path | None = None, budget: Budget | None = None
) -> tuple[dict[str, Any], Setup]:
    """(the state saved in ``path``, what the learner is made of).

    store : where its store lies now, by default where it was
    Raises `BadInput` or `EdgeclError` for a state that is not there, of a newer version, or needs a plugin that is not
    there.
    """
    saved, store = saved_learner(path), store or placed_store(path)
    saved = pending(store or saved["learner"]["config"]["store"], saved) or saved
    about = saved["learner"]
    plugins.check_provenance(about.get("plugins", ()), "saved learner")
    options: Mapping[str, Any] = present_names(about["config"])
    if store is not None:
        if options["store"] is None:
            raise BadInput("This learner was saved without a store.", "Open it without one.")
        options = {**options, "store": str(store)}
    if about.get("store_id") is not None and not holds_store(options["store"]):
        raise BadInput(f"The store of this learner is not in '{options['store']}'.", "Give its folder as store=.")
    return saved, setup_from(about, options, budget)
