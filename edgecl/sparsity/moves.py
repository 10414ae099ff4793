"""Moves: how patterns change, checked before any of them is applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..engine.model import Parameter
from ..errors import EdgeclError
from .masks import PIECE, exact_count, positions_of

Array = np.ndarray


class Move(NamedTuple):
    """One exchange of weights, in densities: keep the best down to ``drop_to``, then grow up to ``grow_to``. None
    leaves that half out.
    """

    drop_to: float | None
    grow_to: float | None


@dataclass(frozen=True)
class Change:
    """New pattern of one tensor: some of its weights leave, then others come. A weight in both starts anew, at 0
    and without optimizer state, as every newcomer does.

    Parameters
    ----------
    to : density of the result; exactly ``exact_count(to, size)`` weights must live then
    dropped : int32, sorted flat positions that leave;  or, where it is shorter,
    kept : int32, sorted flat positions that stay
    grown : int32, sorted flat positions that come, none of them among those that stay
    """

    to: float
    dropped: Array | None = None
    kept: Array | None = None
    grown: Array | None = None


@dataclass(frozen=True)
class Moves:
    """Changes of patterns that a policy decided before a step or at a task's border; empty: due, and nothing moves.

    Parameters
    ----------
    changes : new patterns by tensor; a frozen tensor keeps its pattern
    freeze, unfreeze : names of any parameters, batch-norm statistics included
    trains : flat positions (int32, sorted) of the weights that get gradients, by any parameter's name, others are
        left as they are bit by bit; None lifts it. It holds until it is replaced, and gradient masking chooses among
        these.
    """

    changes: Mapping[str, Change] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    unfreeze: tuple[str, ...] = ()
    trains: Mapping[str, Array | None] = field(default_factory=dict)


class BrokenContract(EdgeclError):
    """A sparsity policy did what the contract forbids; nothing was changed."""


def stages(policy: str, parameter: Parameter, change: Change, peak: float) -> list[Array | None]:
    """The patterns to set one after the other: what stays, then with what comes. None is the dense tensor.

    peak : highest density the plan has room for
    Raises `BrokenContract`, naming the policy.
    """
    spec, old = parameter.spec, parameter.pattern

    def broken(what: str) -> BrokenContract:
        return BrokenContract(
            f"Policy '{policy}' {what} ('{spec.name}', {spec.size} weights, {parameter.living} living).",
            "See edgecl.sparsity.Change for what a change may be.",
        )

    if change.dropped is not None and change.kept is not None:
        raise broken("gave both what leaves and what stays")
    for what, positions in (("dropped", change.dropped), ("kept", change.kept), ("grown", change.grown)):
        if positions is not None and not are_positions(positions, spec.size):
            raise broken(f"gave '{what}' that is no sorted int32 list of distinct positions")
    kept = old
    if change.kept is not None:
        kept = change.kept
        if old is not None and not contains(old, kept).all():
            raise broken("keeps a weight that does not live")
    elif change.dropped is not None and change.dropped.size:
        if old is not None and not contains(old, change.dropped).all():
            raise broken("drops a weight that does not live")
        stays = np.ones(parameter.living, bool)
        stays[change.dropped if old is None else np.searchsorted(old, change.dropped)] = False
        kept = positions_of(stays) if old is None else old[stays]
    found: list[Array | None] = []
    if kept is not None and kept.size < parameter.living:
        found.append(kept)
    result = kept
    if change.grown is not None and change.grown.size:
        if kept is None or contains(kept, change.grown).any():
            raise broken("grows a weight that lives and stays")
        result = np.concatenate([kept, change.grown])
        result.sort()
        found.append(result if result.size < spec.size else None)
    living = spec.size if result is None else int(result.size)
    if living != exact_count(change.to, spec.size):
        raise broken(f"leaves {living} weights where density {change.to:.6g} is {exact_count(change.to, spec.size)}")
    if living > exact_count(peak, spec.size):
        raise broken(f"makes it denser than the {peak:.6g} that its peak_density() promised the plan")
    return found


def contains(pattern: Array, positions: Array) -> Array:
    """bool [n]: which of ``positions`` are in the sorted ``pattern``."""
    found = np.zeros(positions.size, bool)
    for i in range(0, positions.size if pattern.size else 0, PIECE):  # 64-bit indices a piece at a time
        wanted = positions[i : i + PIECE]
        at = np.searchsorted(pattern, wanted)
        at[at == pattern.size] = 0
        found[i : i + PIECE] = pattern[at] == wanted
    return found


def within(pattern: Array | None, positions: Array) -> Array:
    """int32, sorted: where those of ``positions`` that live stand in the living weights; None is the dense tensor."""
    if pattern is None:
        return positions
    return np.searchsorted(pattern, positions[contains(pattern, positions)]).astype(np.int32)


def are_positions(positions: Array, size: int) -> bool:
    """Whether it is a sorted int32 list of distinct flat positions below ``size``."""
    if positions.ndim != 1 or positions.dtype != np.int32:
        return False
    inside = not positions.size or (positions[0] >= 0 and positions[-1] < size)
    return bool(inside and np.all(positions[1:] > positions[:-1]))
