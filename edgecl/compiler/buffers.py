"""Buffers of one arena: geometry with halo, lifetimes over the operations, offsets."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


@dataclass
class Buffer:
    """Maps of one tensor or gradient: [blocks][channels][top+height+bottom][left+width+right][lanes] float32.

    ``item`` 2: saved in 16 bits, see saved.py.
    ``first`` and ``last`` are indices into the program's operations (forward then backward).
    """

    channels: int
    height: int
    width: int
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0
    pitch: int = 0  # columns at least; maps laid out for runs have one (see `runs`)
    spare: int = 0  # rows below: a run's last vector ends in them
    first: int = -1
    last: int = -1
    between: bool = False  # columns beside the interior are zero after the latest write (runs)
    clean: bool = False  # the halo is zero after the latest write
    offset: int = 0
    item: int = 4  # bytes of a value

    @property
    def rows(self) -> int:
        return self.top + self.height + self.bottom + self.spare

    @property
    def columns(self) -> int:
        return max(self.left + self.width + self.right, self.pitch)

    @property
    def has_halo(self) -> bool:
        return bool(self.top or self.bottom or self.left or self.right or self.pitch)

    def need_halo(self, top: int, bottom: int, left: int, right: int) -> None:
        self.top, self.bottom = max(self.top, top), max(self.bottom, bottom)
        self.left, self.right = max(self.left, left), max(self.right, right)

    def touch(self, operation: int) -> None:
        if self.first < 0 or operation < self.first:
            self.first = operation
        self.last = max(self.last, operation)

    def bytes(self, blocks: int, lanes: int) -> int:
        n = blocks * self.channels * self.rows * self.columns * lanes * self.item
        return (n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT

    def row(self) -> list[int]:
        """As the native session takes it."""
        return [
            self.offset,
            self.channels,
            self.height,
            self.width,
            self.top,
            self.left,
            self.rows,
            self.columns,
            self.item,
            int(self.pitch > 0),
        ]

    def plane(self) -> list[int]:
        return [self.rows, self.columns, self.top, self.left]


def place(buffers: list[Buffer], blocks: int, lanes: int) -> int:
    """Gives every buffer an offset such that buffers alive together do not overlap; returns the arena's bytes.

    One after another, each at the lowest offset that is free over its lifetime; of several orders (largest first,
    longest alive first, both) the one with the smallest arena.
    """
    sizes = [b.bytes(blocks, lanes) for b in buffers]
    alive = [b.last - b.first + 1 for b in buffers]
    orders = (
        lambda i: (-sizes[i], buffers[i].first),
        lambda i: (-alive[i], -sizes[i]),
        lambda i: -sizes[i] * alive[i] ** 0.5,
    )
    tried = [_offsets(buffers, sizes, sorted(range(len(buffers)), key=order)) for order in orders]
    end, offsets = min(tried, key=lambda t: t[0])
    for buffer, offset in zip(buffers, offsets):
        buffer.offset = offset
    return end


def _offsets(buffers: list[Buffer], sizes: list[int], order: list[int]) -> tuple[int, list[int]]:
    """(bytes of the arena, offset of each buffer), placed in this order."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    end = 0
    for i in order:
        buffer = buffers[i]
        conflicts = sorted(
            (offsets[j], offsets[j] + sizes[j])
            for j in placed
            if buffers[j].first <= buffer.last and buffer.first <= buffers[j].last
        )
        offset = 0
        for start, stop in conflicts:
            if offset + sizes[i] <= start:
                break
            offset = max(offset, stop)
        offsets[i] = offset
        placed.append(i)
        end = max(end, offset + sizes[i])
    return end, offsets


def forward_halo(size: int, out: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Zero rows a convolution reads before and after an axis of ``size``."""
    return padding, max(0, (out - 1) * stride + kernel - 1 - padding - (size - 1))


def backward_halo(size: int, out: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Zero rows the backward pass for the input reads before and after the output gradient's axis.

    Input position phase + stride * j takes tap k from output row j + (phase + padding - k) / stride.
    """
    before = after = 0
    for phase in range(min(stride, size)):
        last = (size - 1 - phase) // stride
        for k in range(kernel):
            if (phase + padding - k) % stride == 0:
                shift = (phase + padding - k) // stride
                before = max(before, -shift)
                after = max(after, last + shift - (out - 1))
    return before, after
