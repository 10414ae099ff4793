"""Shares: which samples of a stream each simulated device has, unevenly by class (Dirichlet)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import BadInput

Array = np.ndarray
HELD_OUT = 20  # of every class's samples of a device one in so many judges and is never trained on


class Share(NamedTuple):
    """Positions of one device in one task's sources: trained on, held out, tested on."""

    train: Array
    held: Array
    test: Array


def shares(
    train: Array, test: Array, devices: int, alpha: float, most: int, rng: np.random.Generator
) -> list[Share]:
    """A task's samples of classes ``train`` [n] and ``test`` [m], dealt out. Of every class each device gets a part
    drawn from a Dirichlet distribution with ``alpha``; its test samples are of the classes that it trains on, in the
    same parts, at most ``most``.
    """
    if devices < 1 or not alpha > 0:
        raise BadInput(f"devices {devices}, alpha {alpha}.", "At least one device; alpha above 0.")
    found: list[list[list[Array]]] = [[[], [], []] for _ in range(devices)]
    for unit in np.unique(train):
        parts = rng.dirichlet(np.full(devices, alpha))
        own = _dealt(rng.permutation(np.flatnonzero(train == unit)), parts)
        tests = _dealt(rng.permutation(np.flatnonzero(test == unit)), parts)
        for device, (mine, mine_tested) in enumerate(zip(own, tests)):
            out = np.arange(mine.size) % HELD_OUT == HELD_OUT // 2
            found[device][0].append(mine[~out])
            found[device][1].append(mine[out])
            if mine.size:
                found[device][2].append(mine_tested)
    return [
        Share(_joined(a, rng), _joined(b, rng), _joined(c, rng)[:most]) for a, b, c in found
    ]


def _dealt(positions: Array, parts: Array) -> list[Array]:
    """``positions`` cut in ``parts`` of the whole."""
    return np.split(positions, np.rint(np.cumsum(parts)[:-1] * positions.size).astype(int))


def _joined(positions: list[Array], rng: np.random.Generator) -> Array:
    found = np.concatenate(positions) if positions else np.zeros(0, np.int64)
    return rng.permutation(found)
