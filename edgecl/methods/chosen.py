"""Chosen: memory policies that look at the network's outputs of a task's samples at its end."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..storage import EpisodicMemory, MemoryPolicy
from ..storage.errors import BadRecord
from ..storage.sets import distinct

Array = np.ndarray
PIECE = 256  # samples shown to the network at a time


class Chosen(MemoryPolicy):
    """Base: floor(slots / classes) samples of each class, the best by `rank`, among those held and the task's.

    A class's slots are filled in the order of rank, so that the first ones are its best. Old classes shrink.

    fetch : what of the network `rank` looks at
    """

    chooses_at_end = True
    fetch: ClassVar[tuple[str, ...]] = ("features",)

    def rank(self, evaluate: Any, x: Array, quota: int, rng: np.random.Generator) -> Array:
        """Rows of x [n, ...] of one class, best first, int [<= quota]. ``evaluate(x)`` gives logits and `fetch`."""
        raise NotImplementedError

    def shrink(self, evaluate: Any, x: Array, quota: int, rng: np.random.Generator) -> Array:
        """Rows of an old class's samples that stay, in the order of its slots."""
        return np.arange(min(quota, len(x)))

    def end_task(self, memory: EpisodicMemory, rng: np.random.Generator, candidates: Any = None) -> None:
        if candidates is None or not hasattr(candidates, "evaluate"):
            raise BadRecord(f"The policy '{self.name}' asks the network.", "Pass candidates that can be evaluated.")
        new = {int(c) for c in distinct(candidates.classes) if c >= 0}
        classes = sorted({*memory.class_histogram(), *new})
        if not classes:
            return
        quota = max(1, memory.slots // len(classes))
        fresh: dict[int, Array] = {}
        for cls in classes:
            own = np.flatnonzero(memory.classes == cls)
            if cls not in new:
                if len(own) > quota:
                    stays = self.shrink(candidates.evaluate, memory.samples[own], quota, rng)
                    memory.clear(np.delete(own, stays))
                continue
            held = memory.ids[own]
            x, positions = self._pool(candidates, cls, set(held[held >= 0].tolist()))
            both = np.concatenate([memory.samples[own], x])
            best = self.rank(candidates.evaluate, both, quota, rng)
            memory.clear(np.delete(own, best[best < len(own)]))
            fresh[cls] = positions[best[best >= len(own)] - len(own)]
        for cls, chosen in fresh.items():
            free = np.flatnonzero(memory.classes < 0)
            got = candidates.take(chosen[: len(free)])
            n = len(got["positions"])
            labels = np.full(n, cls, np.int32)
            memory.put_many(free[:n], got["samples"], labels, got["ids"], got["fields"], got["subjects"])

    @staticmethod
    def _pool(candidates: Any, cls: int, held: set[int]) -> tuple[Array, Array]:
        """(samples, positions) of the candidates of a class that are not held."""
        xs, found = [], []
        at = np.flatnonzero(candidates.classes == cls)
        for start in range(0, len(at), PIECE):
            got = candidates.take(at[start : start + PIECE])
            keep = np.array([i not in held for i in np.asarray(got["ids"]).tolist()], bool)
            xs.append(got["samples"][keep])
            found.append(np.asarray(got["positions"])[keep])
        return np.concatenate(xs), np.concatenate(found)


def by_pieces(evaluate: Any, x: Array, name: str) -> Array:
    """``evaluate(x)[name]``, a piece at a time, float32 [n, d]."""
    parts = [evaluate(x[i : i + PIECE])[name] for i in range(0, len(x), PIECE)]
    rows = np.concatenate(parts)
    return rows.reshape(len(rows), -1)
