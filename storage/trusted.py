"""Numbers of a saved state, checked before native code sees them: where it comes from nobody knows, and its checksum
has no key. Each function raises `BadRecord`, before anything is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import BadRecord
from .layout import HEADER_BYTES, MAX_CLASS
from .schema import StreamSchema

MOST_ID = 0xFFFFFFEF  # ids have 32 bits, and some of these say something else
_REMEDY = "Use the other generation or a backup."


def unfitting(what: str) -> BadRecord:
    return BadRecord(f"The saved state does not fit: {what}.", _REMEDY)


def require(holds: Any, what: str) -> None:
    if not holds:
        raise unfitting(what)


def number(state: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A whole number of a state."""
    value = state.get(name) if isinstance(state, Mapping) else None
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    whole |= isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu"
    require(whole and low <= int(value) <= high, f"'{name}' is {value!r}"[:120])  # type: ignore[arg-type]
    return int(value)  # type: ignore[arg-type]


def numbers(state: Mapping[str, Any], name: str, dtype: Any, low: int, high: int, n: int | None = None) -> np.ndarray:
    """An array [n] of a state, exactly of a dtype, its values from low to high."""
    value = state.get(name) if isinstance(state, Mapping) else None
    require(isinstance(value, np.ndarray), f"'{name}' is no array")
    array = np.ascontiguousarray(value)
    fits = array.dtype == np.dtype(dtype) and array.ndim == 1 and (n is None or len(array) == n)
    require(fits, f"'{name}' is {array.dtype} {list(array.shape)}")
    within = not array.size or (int(array.min()) >= low and int(array.max()) <= high)
    require(within, f"'{name}' has values out of bounds")
    return array


def memory_state(state: Mapping[str, Any], schema: StreamSchema, like: Mapping[str, np.ndarray]) -> int:
    """The state of an `EpisodicMemory`, whose arrays are like ``like``; its slots."""
    require(isinstance(state, Mapping) and isinstance(state.get("classes"), np.ndarray), "'classes' is no array")
    slots = len(numbers(state, "classes", np.int32, -1, 2**31 - 1))
    require(slots >= 1, "there are no slots")
    for name, low in (("ids", -1), ("versions", 0), ("order", -1)):
        numbers(state, name, np.int64, low, 2**62, slots)
    numbers(state, "subjects", np.int32, -1, 2**31 - 1, slots)
    number(state, "offered", 0, 2**62)
    for name, array in like.items():
        got = state.get(name)
        fits = isinstance(got, np.ndarray) and got.dtype == array.dtype and got.ndim == array.ndim and len(got) == slots
        require(fits and (name.startswith("field.") or got.shape[1:] == array.shape[1:]), f"'{name}'")  # type: ignore[union-attr]
    for name, spec in schema.fields.items():
        width = state[f"field.{name}"].shape[1]
        require(width <= spec.width, f"'field.{name}' is {width} wide")
        numbers(state, f"width.{name}", np.int32, 0, width, slots)
    return slots


def swaps(state: Mapping[str, Any], slots: int, next_id: int, payload: int, fields: list[int]) -> dict[str, np.ndarray]:
    """Swaps on their way, as `Mover.save` gives them; payload, fields: bytes of a sample and of the widest values."""
    require(isinstance(state, Mapping), "the swaps are no table")
    n = len(numbers(state, "due", np.int64, 0, 2**62))
    stage = (payload + 7) // 8 * 8 + sum((b + 7) // 8 * 8 for b in fields)
    out = {"due": numbers(state, "due", np.int64, 0, 2**62, n)}
    require(bool((np.diff(out["due"]) >= 0).all()), "'due' is not in order")
    out["slot"] = numbers(state, "slot", np.int64, 0, slots - 1, n)
    out["id"] = numbers(state, "id", np.int64, 0, min(MOST_ID, next_id - 1), n)
    out["version"] = numbers(state, "version", np.int64, 0, 2**62, n)
    out["time"] = numbers(state, "time", np.int64, -(2**62), 2**62, n)
    out["cls"] = numbers(state, "cls", np.int32, 0, MAX_CLASS, n)
    out["subject"] = numbers(state, "subject", np.int32, -1, 2**31 - 1, n)
    out["ready"] = numbers(state, "ready", np.uint8, 0, 1, n)
    out["bytes"] = numbers(state, "bytes", np.uint8, 0, 255, n * stage)
    out["field_bytes"] = numbers(state, "field_bytes", np.uint32, 0, 2**32 - 1, n * len(fields))
    if fields and n:
        require(bool((out["field_bytes"].reshape(n, -1) <= np.array(fields)).all()), "'field_bytes' exceeds a field")
    return out


def counters(state: Mapping[str, Any], n: int) -> list[float]:
    """Counters of a carousel."""
    value = state.get("counters")
    fits = isinstance(value, np.ndarray) and value.shape == (n,) and value.dtype.kind in "fiu"
    require(fits and np.isfinite(value).all() and (value >= 0).all() and (value < 2.0**62).all(), "'counters'")
    return [float(v) for v in value]  # type: ignore[union-attr]


def view(state: Mapping[str, Any], physical_next: int) -> tuple[int, np.ndarray, np.ndarray]:
    """next_id, classes and first live ids of a store's `state`."""
    next_id = number(state, "next_id", 0, MOST_ID)
    number(state, "count", 0, next_id)
    classes = numbers(state, "classes", np.int32, -(2**31), MAX_CLASS)
    first = numbers(state, "first_live", np.int64, -(2**63), 2**63 - 1, len(classes))  # a reservoir's key has 64 bits
    for name, low in (("field_no", 0), ("field_end", 0), ("field_epoch", 0)):
        number(state, name, low, 2**31 - 1)
    return next_id, classes, first


def field_end(end: int, size: int) -> bool:
    """Whether a field file of ``size`` bytes may go back to ``end``."""
    return HEADER_BYTES <= end <= size
