"""Look: the evidence of a training step that a sparsity policy asks for, and the evidence it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Look:
    """Evidence about gradients that a policy wants gathered in a step.

    `NOTHING`, `LAST`, `TWO`, `Dense` and `Passes` are all there are.

    `LAST` and `Dense` come out of the step's own backward and are kept for a move before a later step; `TWO` and
    `Passes` are passes of their own before the move of the same step.
    """

    kind: str


NOTHING = Look("nothing")
LAST = Look("last")  # |gradient of the whole loss| over living weights, 0 where it was masked: 4 bytes each, kept
TWO = Look("two")  # |gradient| of the single-head loss on current data and of the replayed data: two passes


@dataclass(frozen=True)
class Dense(Look):
    """The largest |gradient| among weights that do not live, of the whole step's loss, from a dense visit of the
    backward. It is seen a block of rows at a time; only the candidates are kept.

    Parameters
    ----------
    top : candidates a tensor, as a share of its living weights at the target density; 8 bytes each
    """

    kind: str = field(default="dense", init=False)
    top: float = 0.1


@dataclass(frozen=True)
class Passes(Look):
    """At most ``count`` forward and backward passes of the policy's own, in `SparsityPolicy.passes`."""

    kind: str = field(default="passes", init=False)
    count: int = 1


class Candidates(NamedTuple):
    """Dead weights of one tensor with the largest dense gradient.

    Parameters
    ----------
    positions : int32 [k] sorted flat positions
    scores : float32 [k] |gradient|
    """

    positions: Array
    scores: Array


@dataclass(frozen=True)
class Evidence:
    """Scores of one tensor, gathered for a move; None where it was not looked for.

    Parameters
    ----------
    last : float32 [living], of `LAST`
    current, replay : float32 [living], of `TWO`; ``replay`` is None while nothing is replayed
    dead : of `Dense`
    own : what `SparsityPolicy.passes` returned for the tensor
    """

    last: Array | None = None
    current: Array | None = None
    replay: Array | None = None
    dead: Candidates | None = None
    own: Array | None = None


def covers(declared: tuple[Look, ...], look: Look) -> bool:
    """Whether a policy that declared ``declared`` may look for ``look``."""
    if look == NOTHING:
        return True
    if isinstance(look, Dense):
        return any(isinstance(d, Dense) and look.top <= d.top for d in declared)
    if isinstance(look, Passes):
        return any(isinstance(d, Passes) and look.count <= d.count for d in declared)
    return look in declared
