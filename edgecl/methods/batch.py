"""What a method sees of one step: the current batch and the replay draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Batch:
    """Current samples.

    x : uint8 or float32 [B, ...];  y : int64 [B] head units, or float32 [B, C] soft targets
    ids : int64 [B] record ids;  indices : int64 [B] positions within the task
    task : 0-based task, None in a task-free stream;  task_units : int [k] head units of the current task
    seen_units : bool [C], units of the classes seen so far
    extra : what a method laid beside the rows for its own terms (a teacher's logits), [B, ...] by name
    """

    x: Array
    y: Array
    ids: Array | None = None
    indices: Array | None = None
    task: int | None = None
    task_units: Array | None = None
    seen_units: Array | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, start: int, stop: int) -> Batch:
        """Samples start..stop-1 as a batch of their own."""
        s = slice(start, stop)
        cut = {k: v[s] for k in ("ids", "indices") if (v := getattr(self, k)) is not None}
        return replace(self, x=self.x[s], y=self.y[s], extra={k: v[s] for k, v in self.extra.items()}, **cut)


@dataclass(frozen=True)
class Draw:
    """Replayed samples: R memory slots with what lies beside them.

    slots : int64 [R];  x : as `Batch.x`;  y : int64 [R] head units
    fields : by name (values [R, W], widths int64 [R]): row i is valid up to ``widths[i]``
    extra : as in `Batch`
    """

    slots: Array
    x: Array
    y: Array
    fields: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    extra: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def logits(self) -> Array | None:
        """float16 [R, W] of the field ``logits``, None where it is not stored."""
        found = self.fields.get("logits")
        return None if found is None else found[0]

    @property
    def widths(self) -> Array | None:
        """int64 [R] widths of the field ``logits``."""
        found = self.fields.get("logits")
        return None if found is None else found[1]

    def rows(self, start: int, stop: int) -> Draw:
        """Samples start..stop-1 as a draw of their own."""
        return self._cut(slice(start, stop))

    def take(self, rows: Array) -> Draw:
        """The samples at ``rows``, in that order."""
        return self._cut(np.asarray(rows, np.int64))

    def _cut(self, s: slice | Array) -> Draw:
        fields = {k: (v[s], w[s]) for k, (v, w) in self.fields.items()}
        return Draw(self.slots[s], self.x[s], self.y[s], fields, {k: v[s] for k, v in self.extra.items()})


Replay = Sequence[Draw]
