"""What a saved learner consists of, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..erasure.forgetting import rewrite_saved, without
from ..errors import EdgeclError
from ..intake.labels import LabelMap
from ..plugins import provenance
from ..storage.errors import StoreError

if TYPE_CHECKING:
    from ..learner import Learner


def state_of(learner: Learner) -> dict[str, Any]:
    config = learner._parts.config.to_json()
    spec = learner.spec
    return {
        "learner": {
            "config": config,
            "plugins": provenance(config),
            "spec": {"shape": spec.shape, "dtype": spec.dtype, "mean": spec.mean, "std": spec.std},
            "classes": learner._parts.engine.model.graph.classes,
            "buffer": learner._buffer.capacity,
            "labels": learner._labels.labels,
            "tasks": learner._has_tasks,
            "task": learner._task,
            "task_name": learner._task_name,
            "new_task": learner._new_task,
            "next_id": learner._next_id,
            "unstored": learner._unstored,
            "forgotten": [] if learner._parts.store is None else [list(f) for f in learner._parts.store.forgotten()],
            "forgotten_count": 0 if learner._parts.store is None else learner._parts.store.forgotten_count,
            "store_id": None if learner._parts.store is None else learner._parts.store.id,
            "calls": learner._calls.state(),
            "keep_checkpoints": learner._kept.most,
            "kept": learner._kept.tasks,
            **learner._session.state(),
        },
        "stream_buffer": learner._buffer.state(),
        "dense": learner._dense.state(),
        "trainer": learner._trainer.state(),
    }


def without_forgotten(learner: Learner, saved: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """A saved state without the subjects that the store forgot after it was written; which these are."""
    found = []
    known = {(int(s), float(at)) for s, at in saved["learner"].get("forgotten", ())}
    for subject, at in [] if learner._parts.store is None else learner._parts.store.forgotten():
        if (subject, at) not in known:
            saved, _ = without(saved, subject)
            found.append(subject)
            if learner._sealing is None:
                rewrite_saved(learner._folders, subject)
    return saved, found


def load_state(learner: Learner, saved: Mapping[str, Any]) -> None:
    """Raises `EdgeclError` or `StoreError` for a state that does not fit, wherever that showed."""
    try:
        _load(learner, saved)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        if isinstance(error, (EdgeclError, StoreError)):
            raise
        what = f"{type(error).__name__}: {error}".rstrip(".")
        raise EdgeclError(f"The saved state does not fit: {what}.", "Use the other generation or a backup.") from error


def _load(learner: Learner, saved: Mapping[str, Any]) -> None:
    about = saved["learner"]
    # The store is not rewound: samples acknowledged after the last save stay known.
    learner._trainer.load(saved["trainer"], rewind_store=False)
    learner._dense.load(saved["dense"])
    learner._buffer.load(dict(saved["stream_buffer"]))
    learner._labels = LabelMap(about["labels"])
    for label in learner._stored_labels():
        learner._labels.unit(label)
    learner._task, learner._new_task = about["task"], about["new_task"]
    learner._task_name = about.get("task_name")
    learner._next_id = about["next_id"]
    learner._session.load(about)
    learner._unstored = about.get("unstored", 0)
    learner._kept.tasks = [int(t) for t in about.get("kept", ())]
    if "calls" in about:
        learner._calls.load(about["calls"])
    else:  # saved before calls were logged
        learner._calls.cut()
    learner._note_stored()
    learner._make_predictor()
