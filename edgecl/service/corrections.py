"""Corrections: other labels, other names, samples out, a backup; on the work thread."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .held import Held, plain
from .watching import Watching


class Corrections:
    """What changes samples and labels that were taken; the holdout follows."""

    def __init__(self, state: Path, held: Held, watching: Watching) -> None:
        self._state, self._held, self._watching = state, held, watching

    def relabel(self, ids: list[int], labels: Any) -> Any:
        """Other labels for samples; those held out may be trained on then."""
        self._watching.holdout.drop(lambda i, row: i not in ids)
        self._held.relabel(ids, labels)
        return {"relabelled": len(ids)}

    def remove(self, ids: list[int] | None, label: Any) -> Any:
        """Samples out of everything, by ids or by label; how many."""
        holdout = self._watching.holdout
        out = holdout.ids(lambda i, row: row.label == label if ids is None else i in ids)
        removed = 0
        if ids is None:
            removed += self._held.learner.remove(label=label)
            removed += self._held.learner.remove(sorted(out)) if out else 0
        else:
            removed += self._held.learner.remove(ids)
        holdout.drop(lambda i, row: i not in out)
        self._held.unsaved = True
        return {"removed": int(removed)}

    def rename(self, label: Any, to: Any) -> Any:
        """A label by another name, or merged into another."""
        learner = self._held.learner
        (learner.merge_label if to in learner.labels else learner.rename_label)(label, to)
        self._watching.holdout.rename(label, to)
        self._held.unsaved = True
        return {"labels": list(self._held.learner.labels)}

    def backup(self) -> Any:
        """State and store in one file of the backup folder."""
        folder = self._state / "backups"
        folder.mkdir(mode=0o700, exist_ok=True)
        return plain(self._held.learner.backup(folder / f"{time.strftime('%Y%m%d-%H%M%S')}.edgecl-backup"))
