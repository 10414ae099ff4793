"""Bytes of sparse training beside parameters and gradients: what is kept between steps, and what a move takes."""

from __future__ import annotations

from collections.abc import Mapping

from .base import SparsityPolicy
from .dense import BLOCK, GATHER_BYTES
from .look import LAST, TWO, Dense
from .masks import exact_count
from .tensor import Target

VISIT_BYTES = 17  # a weight of a visited block: the kernel's block, |gradient|, positions and scores of what may enter


def evidence_bytes(policy: SparsityPolicy, targets: Mapping[str, Target]) -> int:
    """Evidence that is kept for a move, at most: a float32 gradient per living weight, or candidates."""
    found = 0
    for look in policy.looks:
        if look == LAST:
            found = max(found, 4 * _peak(policy, targets))
        elif isinstance(look, Dense):
            found = max(found, 8 * sum(exact_count(look.top * t.density, t.size) for t in targets.values()))
    return found


def passing_bytes(policy: SparsityPolicy, targets: Mapping[str, Target], trained: Mapping[str, int]) -> int:
    """What is taken and given back: a visited block on its way, and the larger of candidates over a step, and two
    gradients and then a move, with the gradients of the network laid out anew beside the old ones.

    trained : size of every trained parameter of the network
    """
    if not policy.moves or not targets:
        return 0
    peak = {n: policy.peak_density(t.density) for n, t in targets.items()}
    moving = sum(int(4 * size * peak.get(name, 1.0)) for name, size in trained.items())
    moving += policy.moving_bytes(targets)
    if TWO in policy.looks:
        moving += 8 * _peak(policy, targets)
    gathering = block = 0
    for look in policy.looks:
        if isinstance(look, Dense):
            gathering = GATHER_BYTES * sum(exact_count(look.top * t.density, t.size) for t in targets.values())
            block = VISIT_BYTES * min(BLOCK, max(t.size for t in targets.values()))
    return max(moving, gathering) + block  # the heap keeps the small pieces of a block


def _peak(policy: SparsityPolicy, targets: Mapping[str, Target]) -> int:
    return sum(exact_count(policy.peak_density(t.density), t.size) for t in targets.values())
