"""The twin of a learner that is trained anew: as the first one was at the start, with a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import checkpoint
from ..errors import CannotRetrain
from ..intake.intake import PIECE
from ..intake.labels import Label, LabelMap, sole_of
from ..storage import SampleStore
from ..storage.transfer import put_field
from .calls import CallLog
from .diary import Diary
from .kept import kept_file
from .sealing import seal, unseal
from .starts import Start

Array = np.ndarray
# Options that only say who watches, and the write budget: what they decided stands in the log.
WATCHERS = ("flash_writes_per_day", "max_temperature", "min_battery", "max_load", "energy_source", "device")


class Labelled(Protocol):
    """What knows labels and head units."""

    labels: LabelMap


class Twin(Protocol):
    """A learner without its threads, as a replay sees it: the one that is trained anew, and its twin."""

    diary: Diary
    intake: Any

    @property
    def store(self) -> SampleStore | None: ...
    @property
    def sealing(self) -> Any: ...
    @property
    def steps(self) -> int:
        """Training steps so far."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to train on."""

    def take(
        self, x: Array, y: list[Label | None], subjects: Array, times: Array | None = None, buffered: bool = True
    ) -> Any: ...
    def learn_again(
        self, steps: int | None, epochs: int | None, most: int | None, arrive: Callable[[int], None]
    ) -> None:
        """Repeat a `learn`; nothing happens without samples."""

    def end_task(self) -> Any: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, saved: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


MakeTwin = Callable[[Mapping[str, Any], int, Path, bool], Twin]  # options over the first one's, classes, folder, seed


def make_twin(original: Twin, start: Start, folder: Path, beside: Path, make: MakeTwin) -> Twin:
    """A learner like ``original`` was at ``start``, with its store in ``folder`` and its states ``beside``."""
    log, begins = original.diary.calls, start.state
    classes = log.classes if begins is None else int(begins["learner"]["classes"])
    unwatched: dict[str, Any] = dict.fromkeys(WATCHERS)
    twin = make({**unwatched, "store": str(folder), "late_swaps": "wait"}, classes, beside, begins is None)
    try:
        made, old = twin.store, original.store
        assert made is not None and old is not None
        if begins is None:
            twin.intake.labels = original.intake.labels.first(log.labels)
            twin.diary.calls.labels = log.labels
        else:
            _copy(old, made, start.ids)
            opened = unseal(begins, original.sealing)
            about = opened["learner"]
            made.name_classes(about["labels"], sole_of(about, about["labels"]))
            twin.load(_renumbered(opened, start.ids))
            if start.lost:  # what was evicted before is in no log of the new store
                twin.diary.calls.cut()
            twin.diary.kept.tasks = [t for t in original.diary.kept.tasks if t <= start.task]
            _carry_kept_states(original, twin, start, beside)
    except BaseException:
        twin.close()
        raise
    return twin


def _copy(store: SampleStore, to: SampleStore, ids: Array) -> None:
    """Records with their values, in order, under new ids."""
    for at in range(0, len(ids), PIECE):
        got = store.read(ids[at : at + PIECE])
        if not got["ok"].all():
            raise CannotRetrain("A sample of before the subject cannot be read.", "Run `edgecl store verify`.")
        ticket = to.append(got["samples"], got["classes"], got["subjects"], got["times"])
        for name, (values, widths) in got["fields"].items():
            put_field(to, name, ticket.ids, values, widths)


def _renumbered(state: Mapping[str, Any], ids: Array) -> dict[str, Any]:
    """A state of the end of a task with the ids of a store that holds ``ids`` only; others become -1."""
    trainer = dict(state["trainer"])
    if trainer["memory"] is not None:
        old = trainer["memory"]["ids"]
        at = np.searchsorted(ids, old)
        known = (at < len(ids)) & (np.append(ids, -1)[np.minimum(at, len(ids))] == old) & (old >= 0)
        trainer["memory"] = {**trainer["memory"], "ids": np.where(known, at, -1)}
    buffer = dict(state["stream_buffer"])
    old = np.asarray(buffer["ids"])
    at = np.searchsorted(ids, old)
    buffer["ids"] = np.where(np.append(ids, -1)[np.minimum(at, len(ids))] == old, at, -1)
    calls = CallLog()
    calls.load(state["learner"]["calls"])
    calls.renumbered(ids)
    about = {**state["learner"], "calls": calls.state()}
    return {**state, "stream_buffer": buffer, "trainer": trainer, "learner": about}


def _carry_kept_states(original: Twin, twin: Twin, start: Start, beside: Path) -> None:
    """The states kept up to the start go with the new store: its ids, sealed with its keys."""
    for task, state in original.diary.kept.newest_first():
        if task <= start.task:
            ids = start.ids[start.ids < int(state["trainer"]["store"]["next_id"])]
            new = _renumbered(unseal(state, original.sealing), ids)
            new["trainer"]["store"] = {**new["trainer"]["store"], "next_id": len(ids), "count": len(ids)}
            new["learner"]["forgotten_count"] = 0
            checkpoint.write(kept_file(beside, task), seal(new, twin.sealing))
