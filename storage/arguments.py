"""What a caller hands over, checked against the schema and brought into the form that goes to flash."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from .errors import BadRecord
from .schema import StreamSchema

_MAX_TIME = 1 << 46  # milliseconds


def _array(values: Any, dtype: Any, what: str) -> np.ndarray:
    """``values`` as an array; `BadRecord` for what is none of that type, rows of unequal length included."""
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRecord(f"The {what} cannot be read: {error}.", "Give an array.") from error


def ids_of(ids: Any) -> np.ndarray:
    array = np.asarray([], np.int64) if np.size(ids) == 0 else _array(ids, None, "ids")
    if array.dtype.kind not in "iu" or (array.dtype.kind == "u" and array.max() >= 2**63):
        raise BadRecord(f"Ids are {array.dtype}.", "Give integers.")
    return np.ascontiguousarray(array, np.int64).reshape(-1)


def rows_of(schema: StreamSchema, samples: Any) -> np.ndarray:
    array = _array(samples, None, "samples")
    shape = schema.sample_shape
    if array.shape == shape:
        array = array[None]
    if array.shape[1:] != shape or array.ndim != len(shape) + 1:
        raise BadRecord(f"Samples have shape {array.shape}, the stream has {shape}.", "Give [N, *shape].")
    if array.dtype != np.dtype(schema.sample_dtype):
        raise BadRecord(f"Samples are {array.dtype}, the stream is {schema.sample_dtype}.", "Convert them.")
    return np.ascontiguousarray(array).reshape(len(array), math.prod(shape)).view(np.uint8)


def ints_of(values: Any, n: int, what: str, low: int, high: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise BadRecord(f"{what.capitalize()} are {array.dtype}.", "Give integers.")
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n):
        raise BadRecord(f"{array.size} {what} for {n} samples.", "Give one each.")
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise BadRecord(f"{what.capitalize()} go from {array.min()} to {array.max()}.", f"Use {low} to {high}.")
    return np.ascontiguousarray(np.broadcast_to(array, (n,)), np.int32)


def times_of(times: Any, n: int) -> np.ndarray:
    array = _array(time.time() if times is None else times, np.float64, "times")
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n):
        raise BadRecord(f"{array.size} times for {n} samples.", "Give one each.")
    if not np.isfinite(array).all() or (np.abs(array) * 1000 >= _MAX_TIME).any():
        raise BadRecord("A time is not finite or too large.", "Give seconds since the epoch.")
    return np.ascontiguousarray(np.broadcast_to(np.rint(array * 1000), (n,)), np.int64)


def values_of(schema: StreamSchema, name: str, values: Any, n: int) -> np.ndarray:
    if name not in schema.fields:
        raise BadRecord(f"The stream has no field '{name}'.", f"It has: {', '.join(schema.fields) or 'none'}.")
    spec = schema.fields[name]
    array = np.ascontiguousarray(_array(values, np.dtype(spec.dtype), f"field '{name}'"))
    if array.ndim != 2 or len(array) != n or not 1 <= array.shape[1] <= spec.width:
        raise BadRecord(f"Field '{name}' has shape {array.shape}.", f"Give [{n}, 1 to {spec.width}].")
    return array
