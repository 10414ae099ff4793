"""Maps that wait in 16 bits for the backward pass: bfloat16, rounded to nearest even; arithmetic stays float32.

A pass over a lowered program. After its last use in the forward pass a map is saved in half its bytes, without halo;
before its first use in the backward pass it is restored into a buffer of its own. The forward pass, its sums and the
gradients between layers keep all their bits; what the backward pass reads again has 8 bits of mantissa.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from .buffers import Buffer
from .operations import MAPS, RESTORE, SAVE

Operations = list[list[Any]]


def save_in_16_bits(
    buffers: list[Buffer], forward: Operations, backward: Operations, whole: Collection[int], blocks: int, lanes: int
) -> tuple[Operations, Operations]:
    """Forward and backward with the saves and restores that lower the arena; new buffers are appended.

    whole : buffers to leave as they are. Lifetimes count operations: forward i is i, the loads between the passes
    are F = len(forward), backward j is F + 1 + j; they are renewed here.
    """
    spans = _spans(forward, backward, whole)
    chosen = _worth_it(buffers, spans, len(forward), len(backward), blocks, lanes)
    ends: dict[int, list[int]] = {}
    starts: dict[int, list[int]] = {}
    for b in sorted(chosen):
        ends.setdefault(spans[b][0], []).append(b)
        starts.setdefault(spans[b][1], []).append(b)

    saved: dict[int, int] = {}
    restored: dict[int, int] = {}
    for b in sorted(chosen):
        saved[b], restored[b] = len(buffers), len(buffers) + 1
        b16 = replace(buffers[b], top=0, bottom=0, left=0, right=0, pitch=0, spare=0, item=2)
        buffers += [b16, replace(buffers[b])]

    time: dict[int, int] = {}  # old to new
    extra: dict[int, tuple[int, int]] = {}  # of the new buffers
    new_forward: Operations = []
    for i, operation in enumerate(forward):
        time[i] = len(new_forward)
        new_forward.append(operation)
        for b in ends.get(i, []):
            extra[saved[b]] = (len(new_forward), -1)
            new_forward.append([SAVE, [b, saved[b]]])
    time[len(forward)] = between = len(new_forward)
    new_backward: Operations = []
    for j, (code, args) in enumerate(backward):
        old = len(forward) + 1 + j
        for b in starts.get(old, []):
            now = between + 1 + len(new_backward)
            extra[saved[b]] = (extra[saved[b]][0], now)
            extra[restored[b]] = (now, buffers[b].last)
            new_backward.append([RESTORE, [saved[b], restored[b]]])
        time[old] = between + 1 + len(new_backward)
        maps = MAPS[code]
        args = [restored.get(a, a) if i in maps else a for i, a in enumerate(args)]
        new_backward.append([code, args])

    for index, buffer in enumerate(buffers):
        if index in extra:
            buffer.first, last = extra[index]
            buffer.last = last if buffer.item == 2 else time[last]
        elif index in saved:
            buffer.first, buffer.last = time[buffer.first], extra[saved[index]][0]
        elif buffer.first >= 0:
            buffer.first, buffer.last = time[buffer.first], time[buffer.last]
    return new_forward, new_backward


def _spans(forward: Operations, backward: Operations, whole: Collection[int]) -> dict[int, tuple[int, int]]:
    """Of each buffer that both passes use: its last use in the forward pass and its first in the backward pass."""
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for i, (code, args) in enumerate(forward):
        for a in MAPS[code]:
            last[args[a]] = i
    for j, (code, args) in enumerate(backward):
        for a in MAPS[code]:
            first.setdefault(args[a], len(forward) + 1 + j)
    return {b: (last[b], first[b]) for b in last if b >= 0 and b in first and b not in whole}


def _worth_it(
    buffers: list[Buffer], spans: dict[int, tuple[int, int]], forward: int, backward: int, blocks: int, lanes: int
) -> set[int]:
    """Those whose saving lowers the most bytes ever alive; the largest that need none are left as they are."""
    alive = [0] * (forward + backward + 1)

    def add(size: int, first: int, last: int) -> None:
        for t in range(first, last + 1):
            alive[t] += size

    half = {}
    for index, b in enumerate(buffers):
        size = b.bytes(blocks, lanes)
        if index not in spans:
            if b.first >= 0:
                add(size, b.first, b.last)
            continue
        gap = spans[index]
        half[index] = replace(b, top=0, bottom=0, left=0, right=0, pitch=0, spare=0, item=2).bytes(blocks, lanes)
        add(size, b.first, gap[0])
        add(half[index], *gap)
        add(size, gap[1], b.last)
    peak = max(alive)
    chosen = set(spans)
    for index in sorted(spans, key=lambda i: (-buffers[i].bytes(blocks, lanes), -i)):
        first, last = spans[index]
        size = buffers[index].bytes(blocks, lanes)
        inside = max(alive[first + 1 : last], default=0) + size - half[index]
        if inside <= peak and max(alive[first], alive[last]) - half[index] <= peak:
            chosen.remove(index)
            add(size - half[index], first + 1, last - 1)
            add(-half[index], first, first)
            add(-half[index], last, last)
    return chosen
