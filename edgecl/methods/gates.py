"""Gate policies: which replayed samples to exchange with the store (CarM, DAC 2022).

A gate sees only what the training step computed anyway: logits and labels of the replayed rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import BadInput, unknown_name
from ..storage import _storage  # native, as it runs in every step

Array = np.ndarray


class Replayed(NamedTuple):
    """What a gate may look at: the replayed rows of a training step.

    logits float32 [R, C], y int [R], slots int [R] in the order they were replayed
    ratio : share to exchange;  epoch, epochs : present and planned of the task, None in an open-ended stream
    """

    logits: Array
    y: Array
    slots: Array
    rng: np.random.Generator
    ratio: float = 0.5
    epoch: int | None = None
    epochs: int | None = None


Gate = Callable[[Replayed], Array]  # slots to exchange, int64


def none(r: Replayed) -> Array:
    """No exchange."""
    return np.zeros(0, np.int64)


def every(r: Replayed) -> Array:
    """``all``: every replayed sample, whatever the ratio (CarM-100)."""
    return np.asarray(r.slots, np.int64)


def at_random(r: Replayed) -> Array:
    """``random``: ceil(ratio * R) of the slots, uniformly, in the order they were replayed."""
    slots = np.asarray(r.slots, np.int64)
    take = r.rng.choice(slots.size, quota(r.ratio, slots.size), replace=False)
    return slots[np.sort(take)]


def hybrid_balanced_p(r: Replayed) -> Array:
    """Per class, first the correctly predicted by entropy ascending, then the wrong by entropy descending.

    Class c gives floor(ratio * n_c); the units missing to ceil(ratio * R) go to classes with a fractional
    rest, drawn without replacement. Classes ascending, within a class in the order taken; ties keep the order
    of the rows.
    """
    rows = _storage.choose_balanced(
        np.ascontiguousarray(r.logits, np.float32),
        np.ascontiguousarray(r.y, np.int64),
        _checked(r.ratio),
        r.rng.bit_generator.capsule,
    )
    return np.asarray(r.slots, np.int64)[rows]


def dynamic(r: Replayed) -> Array:
    """Random while epoch <= epochs / 2, hybrid_balanced_p afterwards: breadth first, then selectivity.

    Where epochs are unknown (an open-ended stream) it is hybrid_balanced_p throughout.
    """
    early = r.epoch is not None and r.epochs is not None and r.epoch <= r.epochs / 2
    return (at_random if early else hybrid_balanced_p)(r)


GATES: dict[str, Gate] = {
    "none": none,
    "all": every,
    "random": at_random,
    "hybrid_balanced_p": hybrid_balanced_p,
    "dynamic": dynamic,
}


def gates() -> dict[str, Gate]:
    """Gate policies by name."""
    return dict(GATES)


def gate(name: str) -> Gate:
    """The policy called ``name``."""
    if name not in GATES:
        raise unknown_name("gate", name, GATES)
    return GATES[name]


def quota(ratio: float, rows: int) -> int:
    """ceil(ratio * rows), with room for rounding of the product."""
    return min(rows, int(np.ceil(_checked(ratio) * rows - 1e-9)))


def _checked(ratio: float) -> float:
    if not 0.0 <= ratio <= 1.0:
        raise BadInput(f"The swap ratio is {ratio}.", "Use a fraction from 0 to 1.")
    return ratio
