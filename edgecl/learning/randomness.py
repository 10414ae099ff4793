"""Randomness: one seed, one named generator per purpose, all of it saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# The position in this list is the generator's key: append, never reorder.
PURPOSES = (
    "init",
    "order",
    "augment",
    "replay",
    "sparsity",
    "memory",
    "gate",
    "carousel",
    "removal",
    "method",
    "head",
    "dropout",
    "miro",
    "mix",
    "holdout",
    "rate",
    "stream",
)


class Randomness:
    """``rng["replay"]`` and so on: PCG64 generators spawned from one seed.

    A generator per purpose keeps paired runs paired: switching the gate on draws nothing from ``order``.
    """

    def __init__(self, seed: int) -> None:
        self._generators = {
            name: np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(i,))))
            for i, name in enumerate(PURPOSES)
        }

    def __getitem__(self, purpose: str) -> np.random.Generator:
        return self._generators[purpose]

    def state(self) -> dict[str, Any]:
        """Plain values (integers of 128 bits among them)."""
        return {name: g.bit_generator.state for name, g in self._generators.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        for name, g in self._generators.items():
            if name in state:  # a purpose that came later begins at the seed
                g.bit_generator.state = state[name]
