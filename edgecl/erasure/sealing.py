"""Sealed saved states: every row of samples with its subject's key, and states without a subject's rows.

A saved state holds samples in four places: memory slots, the stream buffer, swaps on their way, and stored fields. A
label that the samples of one subject alone have is sealed as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EdgeclError
from ..intake.order import Order
from ..intake.portion import sizes_without
from ..storage.carousel import keep_swaps
from ..storage.sealing import Sealing
from ..storage.sets import distinct

Array = np.ndarray


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
    about, theirs = state["learner"], [unit for unit, one in state["learner"].get("sole_labels", ()) if one == subject]
    if theirs:
        held, about = True, _unlabelled(about, theirs)
    return {**state, "learner": about, "stream_buffer": buffer, "trainer": trainer}, held


def _unlabelled(about: Mapping[str, Any], units: list[int]) -> dict[str, Any]:
    """What a state says of a learner without the labels of these head units."""
    gone = set(units)
    labels = [None if unit in gone else label for unit, label in enumerate(about["labels"])]
    return {**about, "labels": labels, "sole_labels": [p for p in about["sole_labels"] if p[0] not in gone]}


def buffer_rows(buffer: Mapping[str, Any], keep: Array) -> dict[str, Any]:
    """The state of a stream buffer with only the samples where ``keep`` [n] is True."""
    rows = {k: buffer[k][keep] for k in ("labels", "ids", "subjects", "numbers", "visited") if k in buffer}
    found = {**buffer, **rows, "samples": buffer["samples"][keep[: len(buffer["samples"])]]}
    if "learned" in buffer:  # of an earlier version
        found["learned"] = int(keep[: int(buffer["learned"])].sum())
    if "portions" in buffer:
        first = keep[: int(buffer["portions"][0])]
        order = Order(1)
        order.load_waiting(buffer["order"])
        order.keep(first)
        found["order"] = order.waiting()
        found["joined"] = int(first[: int(buffer["joined"])].sum())
        found["portions"] = sizes_without(buffer["portions"], keep)
    return found


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
    if state.get("learner", {}).get("sole_labels"):
        state["learner"] = _labels_sealed(state["learner"], sealing)
    return {**state, "trainer": trainer}


def _labels_sealed(about: Mapping[str, Any], sealing: Sealing) -> dict[str, Any]:
    units, owners = zip(*about["sole_labels"])
    texts = [json.dumps(about["labels"][unit]).encode() for unit in units]
    width = max(map(len, texts))
    rows = np.frombuffer(b"".join(text.ljust(width) for text in texts), np.uint8).reshape(-1, width)
    labels = [None if unit in units else label for unit, label in enumerate(about["labels"])]
    return {**about, "labels": labels, "sealed_labels": _sealed(rows, np.array(owners, np.int32), sealing)}


def _labels_opened(about: Mapping[str, Any], sealing: Sealing) -> dict[str, Any]:
    """The inverse; labels whose key is gone are None."""
    rows, ok = _opened(about["sealed_labels"], sealing)
    labels, pairs = list(about["labels"]), about["sole_labels"]
    for (unit, _), row, whole in zip(pairs, rows, ok):
        labels[unit] = json.loads(row.tobytes()) if whole else None
    kept = {**about, "labels": labels, "sole_labels": [pair for pair, whole in zip(pairs, ok) if whole]}
    del kept["sealed_labels"]
    return kept


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
    if "sealed_labels" in state.get("learner", ()):
        state["learner"] = _labels_opened(state["learner"], sealing)
    return {**state, "trainer": trainer}


def _payload(name: str) -> bool:
    """Whether an array of a memory's state says what a sample looks like."""
    return name == "samples" or name.startswith("field.")


def _is_sealed(value: Any) -> bool:
    return isinstance(value, Mapping) and "sealed" in value


def _sealed(rows: Array, subjects: Array, sealing: Sealing) -> dict[str, Any]:
    raw = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8) if rows.size else _nothing(rows)
    sealing.keys.need(distinct(subjects).tolist())
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
