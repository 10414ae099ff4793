"""Numbers of a saved learner that count on arrays and steps; the store's own parts check theirs (`storage.trusted`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .storage.trusted import number, require


def check_saved(saved: Mapping[str, Any]) -> None:
    """Raises `BadRecord`, before anything is changed."""
    about, buffer = saved["learner"], saved["stream_buffer"]
    number(saved["trainer"], "steps", 0, 2**62)
    number(about, "task", 0, 2**62)
    number(about, "next_id", 0, 2**62)
    for name, low, high in (("labels", -1, len(about["labels"]) - 1), ("ids", -1, 2**62), ("subjects", -1, 2**31 - 1)):
        values = np.asarray(buffer.get(name, ()))
        within = not values.size or (values.dtype.kind in "iu" and low <= values.min() and values.max() <= high)
        require(within, f"'stream_buffer/{name}' has values out of bounds")
