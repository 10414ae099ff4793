"""Views of tensors: an offset and a stride along each axis of an iteration, and the plain numbers the kernels read.

A tensor of shape (A, .., Z) lies in a map of A channels, its last axis along the columns (see `operations.as_map`), so
each of its axes has one stride whatever halo the map has. Slicing, transposing, repeating, splitting an axis and often
joining two only change a view; nothing moves.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..storage.sets import distinct
from .operations import as_map

MAP, VALUES, GRADIENTS = 0, 1, 2  # what an operand is: a map, a parameter, the gradient of one
NOTHING, CLEAR_HALO, FILL, FILL_ALPHA = 0, 1, 2, 3  # what happens to an output first
STORE, ADD = 0, 1  # how a value joins what is there


def bits(value: float) -> int:
    """A float32 as the int of its bits."""
    return int(struct.unpack("i", struct.pack("f", value))[0])


@dataclass(frozen=True)
class View:
    """``sizes`` of an iteration over a tensor of ``shape``: iteration axis i moves ``step[i]`` along axis ``axis[i]``
    (-1: it stays), from ``offset`` of each axis of the tensor.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    axis: tuple[int, ...]
    step: tuple[int, ...]
    offset: tuple[int, ...]

    @staticmethod
    def of(shape: Sequence[int]) -> View:
        """All of a tensor in its own order."""
        n = len(shape)
        return View(tuple(shape), tuple(shape), tuple(range(n)), (1,) * n, (0,) * n)

    @staticmethod
    def of_map(shape: Sequence[int]) -> View:
        """A tensor in its own order, as the map that it lies in: its axes are parts of the map's three."""
        view = View.of(as_map(shape)).reshaped(shape)
        assert view is not None
        return view

    # ---- views of a view: its sizes are the tensor that is seen
    def transposed(self, order: Sequence[int]) -> View:
        pick = lambda t: tuple(t[a] for a in order)  # noqa: E731
        return View(self.shape, pick(self.sizes), pick(self.axis), pick(self.step), self.offset)

    def sliced(self, start: Sequence[int], sizes: Sequence[int], step: Sequence[int]) -> View:
        offset = list(self.offset)
        for a, own, first in zip(self.axis, self.step, start):
            if a >= 0:
                offset[a] += own * first
        return View(self.shape, tuple(sizes), self.axis, tuple(a * b for a, b in zip(self.step, step)), tuple(offset))

    def repeated(self, sizes: Sequence[int]) -> View:
        """To ``sizes``: new axes in front, axes of size 1 repeated."""
        new = len(sizes) - len(self.sizes)
        axis = [-1] * new + [a if n == m else -1 for a, n, m in zip(self.axis, self.sizes, sizes[new:])]
        return View(self.shape, tuple(sizes), tuple(axis), (0,) * new + self.step, self.offset)

    def selected(self, axes: Sequence[int], sizes: Sequence[int]) -> View:
        """An iteration over ``sizes`` whose axis i is this view's axis ``axes[i]``, or none (-1)."""
        axis = tuple(self.axis[a] if a >= 0 else -1 for a in axes)
        return View(self.shape, tuple(sizes), axis, tuple(self.step[a] if a >= 0 else 0 for a in axes), self.offset)

    def reshaped(self, sizes: Sequence[int]) -> View | None:
        """With axes split and joined so that they are ``sizes``; None where that is no view."""
        axis, step = [], []
        for old, new in _groups(self.sizes, sizes):
            joined = self._joined(old)
            if joined is None:
                return None
            a, s = joined
            for i in new:
                between = math.prod(sizes[j] for j in new if j > i)
                axis.append(a if sizes[i] > 1 else -1)
                step.append(s * between)
        return View(self.shape, tuple(sizes), tuple(axis), tuple(step), self.offset)

    def _joined(self, axes: Sequence[int]) -> tuple[int, int] | None:
        """(axis of the tensor, step) that these axes pass through as one."""
        real = [a for a in axes if self.sizes[a] > 1]
        if not real:
            return -1, 0
        for a, b in pairwise(real):
            if self.axis[a] != self.axis[b] or self.step[a] != self.step[b] * self.sizes[b]:
                return None
        return self.axis[real[-1]], self.step[real[-1]]

    # ---- what is known of a view
    @property
    def plain(self) -> bool:
        """Is it a whole map, in the order of a tensor of its sizes?"""
        return self.shape == as_map(self.sizes) and self.same(View.of_map(self.sizes))

    def same(self, other: View) -> bool:
        """Does the other one see the same places? Axes of size 1 may go anywhere."""
        if (self.shape, self.sizes, self.offset) != (other.shape, other.sizes, other.offset):
            return False
        pairs = zip(self.sizes, zip(self.axis, self.step), zip(other.axis, other.step))
        return all(n == 1 or a == b for n, a, b in pairs)

    def layout(self) -> list[int] | None:
        """Where a whole map is seen with its axes in another order: the axes in the map's own order."""
        order = sorted(range(len(self.sizes)), key=lambda i: (self.axis[i] % 99, -self.step[i]))
        stored = tuple(self.sizes[i] for i in order)
        back = [order.index(i) for i in range(len(order))]
        if as_map(stored) != self.shape or not View.of_map(stored).transposed(back).same(self):
            return None
        return order

    def _places(self) -> list[np.ndarray]:
        """Of each axis of the tensor the places that the iteration visits along it, repeats included."""
        places = [np.array([o]) for o in self.offset]
        for n, a, s in zip(self.sizes, self.axis, self.step):
            if a >= 0:
                places[a] = np.add.outer(places[a], np.arange(n) * s).ravel()
        return places

    def once(self) -> bool:
        """Does no place come up twice?"""
        if any(a < 0 and n > 1 for a, n in zip(self.axis, self.sizes)):
            return False
        return all(len(distinct(p)) == len(p) for p in self._places())

    def everywhere(self) -> bool:
        """Does every place of the tensor come up?"""
        return all(len(distinct(p)) == n for p, n in zip(self._places(), self.shape))

    def numbers(self, kind: int, index: int) -> list[int]:
        """As read_operand of kernels/tensor.cpp takes it."""
        return [kind, index, len(self.shape), *self.shape, *self.axis, *self.step, *self.offset]


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of axes of two shapes of one size that hold the same number of values."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        a, b = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(a), j + len(b)
        left, right = math.prod(old[k] for k in a), math.prod(new[k] for k in b)
        while left != right:
            if left < right:
                left *= old[i]
                a.append(i)
                i += 1
            else:
                right *= new[j]
                b.append(j)
                j += 1
        groups.append((a, b))
    return groups
