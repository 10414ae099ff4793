"""Forgetting a subject: what of it stands in RAM and in saved states, and how a saved state is sealed.

A saved state holds samples in four places: memory slots, the stream buffer, swaps on their way, and stored logits.
With a root key each row is sealed with its subject's key, so that dropping the key is enough; without one the file is
rewritten without the rows and the old one overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoint
from ..errors import EdgeclError
from ..learning.trainer import Parts
from ..storage.carousel import keep_swaps
from ..storage.errors import StoreError
from ..storage.forgetting import OVERWRITTEN
from ..storage.sealing import Sealing
from ..storage.whole import overwrite as overwrite
from .calls import FORGOT, Call

if TYPE_CHECKING:
    from ..learner import Learner

Array = np.ndarray
STILL_IN_WEIGHTS = "The weights still carry the subject's influence; only training anew without it removes that."


@dataclass(frozen=True)
class Receipt:
    """What `Learner.forget` did.

    ids : of the samples that were on flash;  slots, buffered, swaps : memory slots emptied, samples taken out of the
        stream buffer, swaps on their way given up
    files : rewritten and overwritten;  time : seconds since the epoch
    holds : ``key dropped`` (unreadable in every copy of the files) or ``overwritten`` (gone from every live file)
    weights : what still carries the subject
    below, store, place : of the store: ids of its samples, its id, where it lay;  saved : folders of saved states
    """

    subject: int
    time: float
    holds: str
    ids: list[int]
    files: list[str]
    slots: int
    buffered: int
    swaps: int
    weights: str = STILL_IN_WEIGHTS
    below: int = 0
    store: str = ""
    place: str = ""
    saved: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forget(learner: Learner, subject: int) -> Receipt:
    """Take a subject out of store, memory, stream buffer, swaps and saved states, for the thread that holds
    ``_work`` and ``_observing``."""
    p = learner._parts
    ids, files, at, holds = np.zeros(0, np.int64), list[str](), time.time(), OVERWRITTEN
    where: dict[str, Any] = {}
    if p.store is not None:
        try:
            done = p.store.forget(subject)
        except StoreError as error:
            raise EdgeclError(error.cause, error.remedy) from error
        ids, files, at, holds = done.ids, list(done.files), done.time, done.holds
        where = {"below": done.below, "store": done.store, "place": done.place}
    if subject in learner._calls.subjects:
        learner._calls.add(Call(FORGOT, subject))
    swaps = 0 if p.carousel is None else p.carousel.forget(subject, ids)
    slots, buffered = empty_slots(p, subject, ids), learner._buffer.forget(subject)
    files += learner._kept.forget(subject)
    if learner._sealing is None:
        files += rewrite_saved(learner._folders, subject)
    saved = sorted(str(folder) for folder in learner._folders)
    return Receipt(subject, at, holds, ids.tolist(), files, slots, buffered, swaps, saved=saved, **where)


def empty_slots(parts: Parts, subject: int, ids: Array) -> int:
    """Empty the memory slots of ``subject`` or with one of ``ids``; how many."""
    memory = parts.memory
    if memory is None:
        return 0
    mine = (memory.classes >= 0) & ((memory.subjects == subject) | np.isin(memory.ids, ids))
    memory.clear(np.flatnonzero(mine))
    return int(mine.sum())


def without(state: Mapping[str, Any], subject: int) -> tuple[dict[str, Any], bool]:
    """A saved state of a learner without a subject's samples and logits; whether it held any."""
    buffer, trainer = dict(state["stream_buffer"]), dict(state["trainer"])
    mine = np.asarray(buffer.get("subjects", np.zeros(0))) == subject
    held = bool(mine.any())
    if held:
        buffer = buffer_rows(buffer, ~mine)
    if trainer["memory"] is not None:
        own = trainer["memory"]["subjects"] == subject
        held |= bool(own.any())
        trainer["memory"] = _emptied(trainer["memory"], own)
    if trainer["carousel"] is not None:
        coming = trainer["carousel"]["subject"] == subject
        held |= bool(coming.any())
        trainer["carousel"] = keep_swaps(trainer["carousel"], ~coming)
    return {**state, "stream_buffer": buffer, "trainer": trainer}, held


def buffer_rows(buffer: Mapping[str, Any], keep: Array) -> dict[str, Any]:
    """The state of a stream buffer with only the samples where ``keep`` [n] is True."""
    rows = {k: buffer[k][keep] for k in ("labels", "ids", "subjects")}
    learned = int(keep[: int(buffer["learned"])].sum())
    return {**buffer, **rows, "samples": buffer["samples"][keep[: len(buffer["samples"])]], "learned": learned}


def _emptied(memory: Mapping[str, Array], own: Array) -> dict[str, Array]:
    new = {k: np.array(v) for k, v in memory.items()}
    for name, array in new.items():
        if name in ("classes", "ids", "subjects", "order"):
            array[own] = -1
        elif name not in ("versions", "offered"):
            array[own] = 0
    new["versions"][own] += 1
    return new


def seal(state: Mapping[str, Any], sealing: Sealing | None) -> dict[str, Any]:
    """``state`` with every row of samples and logits sealed with its subject's key; as it is without a root key."""
    if sealing is None:
        return dict(state)
    state, trainer = dict(state), dict(state["trainer"])
    if "stream_buffer" in state:  # a run has none
        buffer = state["stream_buffer"] = dict(state["stream_buffer"])
        held = len(buffer["samples"])
        buffer["samples"] = _sealed(buffer["samples"], buffer["subjects"][:held], sealing)
    memory = trainer["memory"]
    if memory is not None:
        rows = {k: _sealed(v, memory["subjects"], sealing) for k, v in memory.items() if _payload(k)}
        trainer["memory"] = {**memory, **rows}
    swaps = trainer["carousel"]
    if swaps is not None and len(swaps["due"]):
        rows = swaps["bytes"].reshape(len(swaps["due"]), -1)
        owners = np.where(swaps["ready"], swaps["subject"], -1)  # what could not be read brings nothing
        trainer["carousel"] = {**swaps, "bytes": _sealed(rows, owners, sealing)}
    return {**state, "trainer": trainer}


def unseal(state: Mapping[str, Any], sealing: Sealing | None) -> dict[str, Any]:
    """The inverse of `seal`. Rows whose key is gone become empty slots, or are left out. A state that was saved in
    the clear stays as it is.
    """
    memory = state["trainer"]["memory"]
    buffer = state.get("stream_buffer")
    if not any(_is_sealed(part["samples"]) for part in (memory, buffer) if part is not None):
        return dict(state)
    if sealing is None:
        raise EdgeclError("The saved learner is encrypted.", "Give the root_key it was saved with.")
    state, trainer = dict(state), dict(state["trainer"])
    if buffer is not None:
        buffer = dict(buffer)
        buffer["samples"], ok = _opened(buffer["samples"], sealing)
        keep = np.concatenate([ok, np.ones(len(buffer["labels"]) - len(ok), bool)])
        state["stream_buffer"] = buffer_rows(buffer, keep)
    if memory is not None:
        memory, lost = dict(memory), np.zeros(len(memory["classes"]), bool)
        for name in filter(_payload, list(memory)):
            memory[name], ok = _opened(memory[name], sealing)
            lost |= ~ok
        trainer["memory"] = _emptied(memory, lost)
    if trainer["carousel"] is not None and _is_sealed(trainer["carousel"]["bytes"]):
        rows, ok = _opened(trainer["carousel"]["bytes"], sealing)
        trainer["carousel"] = keep_swaps({**trainer["carousel"], "bytes": rows}, ok)
    return {**state, "trainer": trainer}


def _payload(name: str) -> bool:
    """Whether an array of a memory's state says what a sample looks like."""
    return name == "samples" or name.startswith("field.")


def _is_sealed(value: Any) -> bool:
    return isinstance(value, Mapping) and "sealed" in value


def _sealed(rows: Array, subjects: Array, sealing: Sealing) -> dict[str, Any]:
    raw = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8) if rows.size else _nothing(rows)
    sealing.keys.need(np.unique(subjects).tolist())
    text = sealing.values(raw, subjects) if len(raw) else raw
    return {"sealed": text, "dtype": rows.dtype.str, "shape": list(rows.shape)}


def _nothing(rows: Array) -> Array:
    return np.zeros((len(rows), 0), np.uint8)


def _opened(value: Mapping[str, Any], sealing: Sealing) -> tuple[Array, Array]:
    """(rows as they were, ok bool [n]); a row that does not open is zeros."""
    rows = np.zeros(value["shape"], value["dtype"])
    raw = rows.reshape(len(rows), -1).view(np.uint8) if rows.size else _nothing(rows)
    decode, ok = sealing.field_decoder(), np.zeros(len(rows), bool)
    for i, text in enumerate(value["sealed"]):
        ok[i] = decode(0, memoryview(text.tobytes()), memoryview(raw[i]))  # type: ignore[arg-type]
    return rows, ok


def rewrite_saved(folders: Iterable[Path], subject: int) -> list[str]:
    """Rewrite the saved states in ``folders`` without a subject; the files that held something of it, or could not be
    read and were overwritten as they are.
    """
    folders = list(folders)
    files = [str(path) for folder in folders for path in checkpoint.sweep(folder)]
    for path in (p for folder in folders for p in checkpoint.generations(folder)):
        try:
            state = checkpoint.read(path)
        except EdgeclError:  # damaged: whatever is in it goes
            overwrite(path)
            files.append(str(path))
            continue
        if "learner" not in state:
            continue
        state, held = without(state, subject)
        if held:
            checkpoint.rewrite(path, state)
            files.append(str(path))
    return files
