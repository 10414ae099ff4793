"""The second learner of `retrain_without`, as the first one was at the start: its store holds the samples of before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoint
from ..errors import CannotRetrain
from ..intake.labels import LabelMap
from ..storage import SampleStore
from ..storage.transfer import put_field
from .calls import CallLog
from .forgetting import seal, unseal
from .kept import kept_file
from .starts import Start

if TYPE_CHECKING:
    from ..learner import Learner

PIECE = 256  # samples read at a time
# Options that only say who watches, and the write budget: what they decided stands in the log.
_WATCHERS = ("flash_writes_per_day", "max_temperature", "min_battery", "max_load", "energy_source", "device")


def second(learner: Learner, start: Start, folder: Path, beside: Path) -> Learner:
    """A learner like the first one was at ``start``, with a store of its own."""
    about = learner._state()["learner"] if start.state is None else start.state["learner"]
    config = {k: v for k, v in learner.plan.config.to_json().items() if v is not None and k not in _WATCHERS}
    log = learner._calls
    scratch = learner._like(
        {**config, "store": str(folder), "late_swaps": "wait"},
        classes=log.classes if start.state is None else about["classes"],
        path=beside,
        weights=None if start.state is not None or log.weights is None else log.weights[0],
    )
    try:
        scratch._stop = learner._stop
        made = scratch._parts.store
        assert made is not None and learner._parts.store is not None
        if start.state is None:
            scratch._labels = LabelMap(log.labels)
            scratch._calls.labels = list(log.labels)
        else:
            _copy(learner._parts.store, made, start.ids)
            made.meta_set({"labels": json.dumps(about["labels"]).encode()})
            scratch._load(_renumbered(unseal(start.state, learner._sealing), start.ids))
            if start.lost:  # what was evicted before is in no log of the new store
                scratch._calls.cut()
            scratch._kept.tasks = [t for t in learner._kept.tasks if t <= start.task]
            _keep(learner, scratch, start, beside)
    except BaseException:
        scratch.close()
        raise
    return scratch


def _copy(store: SampleStore, to: SampleStore, ids: np.ndarray) -> None:
    """Records with their values, in order, under new ids."""
    for at in range(0, len(ids), PIECE):
        got = store.read(ids[at : at + PIECE])
        if not got["ok"].all():
            raise CannotRetrain("A sample of before the subject cannot be read.", "Run `edgecl store verify`.")
        ticket = to.append(got["samples"], got["classes"], got["subjects"], got["times"])
        for name, (values, widths) in got["fields"].items():
            put_field(to, name, ticket.ids, values, widths)


def _renumbered(state: Mapping[str, Any], ids: np.ndarray) -> dict[str, Any]:
    """A state of the end of a task with the ids of a store that holds ``ids`` only; others become -1."""
    trainer = dict(state["trainer"])
    if trainer["memory"] is not None:
        old = trainer["memory"]["ids"]
        at = np.searchsorted(ids, old)
        known = (at < len(ids)) & (np.append(ids, -1)[np.minimum(at, len(ids))] == old) & (old >= 0)
        trainer["memory"] = {**trainer["memory"], "ids": np.where(known, at, -1)}
    calls = CallLog()
    calls.load(state["learner"]["calls"])
    calls.renumbered(ids)
    return {**state, "trainer": trainer, "learner": {**state["learner"], "calls": calls.state()}}


def _keep(learner: Learner, scratch: Learner, start: Start, beside: Path) -> None:
    """The states kept up to the start go with the new store: its ids, sealed with its keys."""
    for task, state in learner._kept.newest_first():
        if task <= start.task:
            ids = start.ids[start.ids < int(state["trainer"]["store"]["next_id"])]
            new = _renumbered(unseal(state, learner._sealing), ids)
            new["trainer"]["store"] = {**new["trainer"]["store"], "next_id": len(ids), "count": len(ids)}
            new["learner"]["forgotten_count"] = 0
            checkpoint.write(kept_file(beside, task), seal(new, scratch._sealing))
