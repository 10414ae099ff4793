"""Progress: a moment of a run, for displays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """accuracy : Class-IL after the last finished task, or None"""

    task: int
    tasks: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None
    resident_bytes: int
    ram_limit: int | None
    flops: int
    dense_flops: int


Listener = Callable[[Progress], None]
