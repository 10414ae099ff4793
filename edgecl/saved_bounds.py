"""Numbers of a saved learner that count on arrays and steps; the store's own parts check theirs (`storage.trusted`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import EdgeclError
from .storage.errors import StoreError
from .storage.trusted import number, require


@contextmanager
def fitting() -> Iterator[None]:
    """Whatever shows within that a saved state does not fit comes out as an `EdgeclError` or a `StoreError`."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        if isinstance(error, (EdgeclError, StoreError)):
            raise
        what = f"{type(error).__name__}: {error}".rstrip(".")
        raise EdgeclError(f"The saved state does not fit: {what}.", "Use the other generation or a backup.") from error


def check_saved(saved: Mapping[str, Any]) -> None:
    """Raises `BadRecord`, before anything is changed."""
    about, buffer = saved["learner"], saved["stream_buffer"]
    number(saved["trainer"], "steps", 0, 2**62)
    number(about, "task", 0, 2**62)
    number(about, "next_id", 0, 2**62)
    if "next" in buffer:
        number(buffer, "next", 0, 2**62)
    for name, low, high in (("labels", -1, len(about["labels"]) - 1), ("ids", -1, 2**62), ("subjects", -1, 2**31 - 1)):
        values = np.asarray(buffer.get(name, ()))
        within = not values.size or (values.dtype.kind in "iu" and low <= values.min() and values.max() <= high)
        require(within, f"'stream_buffer/{name}' has values out of bounds")
    if "portions" in buffer:
        rows, portions = len(buffer["labels"]), np.asarray(buffer["portions"], np.int64)
        whole = len(portions) > 0 and portions.min() >= 0 and portions.sum() == rows
        require(whole and len(portions) == len(about["waiting"]) + 1, "'stream_buffer/portions' do not fit its samples")
        number(buffer, "joined", 0, int(portions[0]))
        order, memory = np.asarray(buffer["order"]), saved["trainer"]["memory"]
        slots = 0 if memory is None else len(memory["classes"])
        within = not order.size or (order.dtype.kind in "iu" and order.max() < portions[0] and order.min() >= -slots)
        require(bool(within), "'stream_buffer/order' has values out of bounds")
        for name in ("ids", "subjects", "numbers", "visited"):
            require(np.shape(buffer[name]) == (rows,), f"'stream_buffer/{name}' does not fit its samples")
        require(len(buffer["samples"]) <= rows, "'stream_buffer/samples' are more than its labels")
