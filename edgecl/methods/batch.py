"""What a method sees of one step: the current batch and the replay draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Batch:
    """Current samples.

    x : uint8 or float32 [B, ...];  y : int64 [B] head units, or float32 [B, C] soft targets
    ids : int64 [B] record ids;  indices : int64 [B] positions within the task
    task : 0-based task, None in a task-free stream;  task_units : int [k] head units of the current task
    seen_units : bool [C], units of the classes seen so far
    """

    x: Array
    y: Array
    ids: Array | None = None
    indices: Array | None = None
    task: int | None = None
    task_units: Array | None = None
    seen_units: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, start: int, stop: int) -> Batch:
        """Samples start..stop-1 as a batch of their own."""
        s = slice(start, stop)
        cut = {k: v[s] for k in ("ids", "indices") if (v := getattr(self, k)) is not None}
        return replace(self, x=self.x[s], y=self.y[s], **cut)


@dataclass(frozen=True)
class Draw:
    """One replay draw of R samples.

    slots : int64 [R] memory slots;  x : as `Batch.x`;  y : int64 [R] head units
    logits : float16 [R, W], row i valid up to ``widths[i]``;  widths : int64 [R]; both None where not stored
    """

    slots: Array
    x: Array
    y: Array
    logits: Array | None = None
    widths: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, start: int, stop: int) -> Draw:
        """Samples start..stop-1 as a draw of their own."""
        s = slice(start, stop)
        cut = {k: v[s] for k in ("logits", "widths") if (v := getattr(self, k)) is not None}
        return replace(self, slots=self.slots[s], x=self.x[s], y=self.y[s], **cut)


Replay = Sequence[Draw]
