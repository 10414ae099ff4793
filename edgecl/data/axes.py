"""The order of a sample's axes: recognised by plausibility and said, or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput

FEW = 16  # channels of a window at most, where its axes are guessed
LONG = 4  # a window has so many times more steps than channels


@dataclass(frozen=True)
class Layout:
    """How raw samples become (C, H, W).

    axes : 'chw', 'hwc', 'hw', 'ct', 'tc', 't' or 'f', as the data has them, axes of size one left away
    kind : 'pictures', 'windows' or 'features'; shape : (C, H, W) after `apply`
    """

    axes: str
    kind: str
    shape: tuple[int, int, int]

    def apply(self, block: np.ndarray) -> np.ndarray:
        """``block`` [k, ...] as [k, C, H, W]."""
        k = len(block)
        c, h, w = self.shape
        if self.axes == "hwc":
            return block.reshape(k, h, w, c).transpose(0, 3, 1, 2)
        if self.axes == "tc":
            return block.reshape(k, w, c).transpose(0, 2, 1).reshape(k, c, 1, w)
        return block.reshape(k, c, h, w)

    @property
    def said(self) -> str | None:
        """What the gate says of it; None where channels or rows come first."""
        return {
            "hwc": "axes read as height x width x channels",
            "tc": "axes read as steps x channels",
            "ct": "axes read as channels x steps",
        }.get(self.axes)


KINDS = {"chw": "pictures", "hwc": "pictures", "hw": "pictures", "ct": "windows", "tc": "windows", "t": "windows"}


def recognise(shape: Sequence[int], asked: str | None, what: str = "x", bytes_: bool = False) -> Layout:
    """The layout of samples of ``shape`` (without the axis over samples), ``asked`` for or plausible.

    bytes_ : values of 8 bits, which in doubt are pictures

    Raises BadInput where it cannot be told, or where what was asked for does not fit.
    """
    shape = tuple(int(n) for n in shape)
    if not shape or 0 in shape:
        raise BadInput(f"The samples of {what} have shape {shape}.", "Give pictures, windows or rows of features.")
    if asked is not None:
        return _asked(shape, asked, what)
    if len(shape) == 1:
        return Layout("f", "features", (*shape, 1, 1))
    if len(shape) == 2:
        return _two(shape, what, bytes_)
    if len(shape) == 3:
        return _three(shape, what)
    raise BadInput(
        f"The samples of {what} have {len(shape)} axes: {shape}.",
        "Give pictures [n, C, H, W], windows [n, C, T] or rows [n, F]; cut videos and volumes into pictures first.",
    )


def _asked(shape: tuple[int, ...], asked: str, what: str) -> Layout:
    sizes = shape
    while len(sizes) > len(asked) and 1 in sizes:  # axes of size one carry nothing
        sizes = sizes[: sizes.index(1)] + sizes[sizes.index(1) + 1 :]
    if len(sizes) < len(asked) and asked == "chw":
        sizes = (1, *sizes)
    if len(sizes) != len(asked):
        raise BadInput(f"The samples of {what} have shape {shape}, not axes '{asked}'.", "Give other --axes.")
    at = dict(zip(asked, sizes))
    if asked == "f":
        return Layout("f", "features", (at["f"], 1, 1))
    if "t" in at:
        return Layout(asked, "windows", (at.get("c", 1), 1, at["t"]))
    return Layout(asked, "pictures", (at.get("c", 1), at["h"], at["w"]))


def _two(shape: tuple[int, ...], what: str, bytes_: bool = False) -> Layout:
    """Grey pictures, or windows where one axis is much longer than the other, which is short."""
    a, b = shape
    few, many = min(shape), max(shape)
    if few == 1:
        return Layout("t", "windows", (1, 1, many)) if many > 1 else Layout("f", "features", (1, 1, 1))
    if few <= FEW and many >= LONG * few:
        return Layout("tc", "windows", (b, 1, a)) if a > b else Layout("ct", "windows", (a, 1, b))
    if few <= FEW // 2 and many >= 2 * few and not bytes_:
        raise BadInput(
            f"The samples of {what} have shape {shape}: grey pictures, or windows of {few} channels?",
            f"Say --axes hw, or --axes {'tc' if a > b else 'ct'}.",
        )
    return Layout("hw", "pictures", (1, a, b))


def _three(shape: tuple[int, ...], what: str) -> Layout:
    a, b, c = shape
    if b == 1 and a > 1 and c > 1:  # (C, 1, T), as signals are kept; (T, 1, C) where that is much likelier
        turned = c <= FEW and a >= LONG * c
        return Layout("tc", "windows", (c, 1, a)) if turned else Layout("ct", "windows", (a, 1, c))
    if sum(n > 1 for n in shape) <= 1:
        return Layout("t", "windows", (1, 1, max(shape))) if max(shape) > 1 else Layout("f", "features", (1, 1, 1))
    if a == 1 and min(b, c) <= FEW and max(b, c) >= LONG * min(b, c):
        return _two((b, c), what)
    first, last = a <= 4, c <= 4
    if first == last:  # the two of one size are height and width
        first, last = b == c, a == b
    if first == last:
        raise BadInput(
            f"The samples of {what} have shape {shape}: channels first, or last?", "Say --axes chw, or --axes hwc."
        )
    return Layout("chw", "pictures", (a, b, c)) if first else Layout("hwc", "pictures", (c, a, b))
