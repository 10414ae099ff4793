"""What a learner finds in its store that its state does not know: records that came after it, and changes of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..erasure.amending import Amending
from ..erasure.diary import Diary
from ..intake.intake import Intake
from .core import Core
from .statistics import without_statistics
from .tasks import Tasks


def covers_of(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a saved state knows of the store (`Intake.covers`), of this version or an earlier one."""
    about, store = saved["learner"], saved["trainer"]["store"] or {}
    known = (about.get("calls") or {}).get("next_id") or store.get("next_id", 0)
    return {"next_id": int(known), "borders": 0, "waiting": (), **(about.get("covers") or {})}


def adopt(intake: Intake, tasks: Tasks, diary: Diary, covers: Mapping[str, Any] | None = None) -> int:
    """Records of the store that a learner does not know become new samples, in order of their tasks; how many.

    covers : what the state that it goes on from knew; None: nothing
    """
    if intake.store is None:
        return 0
    known: Mapping[str, Any] = {"next_id": 0, "borders": 0, "waiting": ()} if covers is None else covers
    ids = intake.unknown(int(known["next_id"]), np.array(known["waiting"], np.int64))
    at = int(known["borders"])
    for stretch in intake.borders.stretches(ids):
        if tasks.exist and stretch.number > at and (covers is not None or len(intake.buffer)):
            tasks.declare_end(stretch.name)
            intake.buffer.end_portion()
            diary.task_ended()
        at, tasks.name = max(at, stretch.number), (stretch.name if tasks.exist else None) or tasks.name
        intake.take_stored(stretch.ids)
        diary.found(int(stretch.ids[0]), int(stretch.ids[-1]) + 1)
    diary.note_stored(intake.store)
    return len(ids)


def catch_up(core: Core, intake: Intake) -> None:
    """What was relabelled, removed or renamed after the state was saved is so in it too."""
    hide_nameless(core, intake)
    if intake.store is not None:
        ids, units = intake.store.amended()
        if len(ids):
            core.amend(ids, units)
            intake.amend(ids, units, again=False)


def hide_nameless(core: Core, intake: Intake) -> None:
    """Head units whose label was removed or forgotten are predicted no more."""
    seen, labels = core.trainer.seen, intake.labels.labels
    gone = [unit for unit, label in enumerate(labels[: len(seen)]) if label is None]
    seen[np.array(gone, np.int64)] = False


def amending(core: Core, intake: Intake, diary: Diary) -> Amending:
    """What relabels, removes and renames; nothing may train or take samples meanwhile."""
    statistics = lambda ids: without_statistics(core, -2, ids)  # noqa: E731
    return Amending(intake, diary, [core, intake], statistics, lambda: hide_nameless(core, intake))
