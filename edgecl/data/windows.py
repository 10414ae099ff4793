"""Series cut into windows, or resampled to one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .options import in_steps

DEFAULT_STEPS, DEFAULT_SECONDS = 128, 2.56
LONGEST_EVENT, ALIKE = 1024, 4  # series of at most so many steps, and so many times the shortest, are events each


def runs(labels: np.ndarray) -> Iterator[tuple[int, int]]:
    """(start, stop) of every run of equal ``labels`` [T]."""
    edges = np.concatenate(([0], np.flatnonzero(labels[1:] != labels[:-1]) + 1, [labels.size]))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist())


def starts(steps: int, window: int, hop: int) -> range:
    """Where the windows of a series of ``steps`` begin; none where it is shorter than a window."""
    return range(0, steps - window + 1, hop)


def resample(series: np.ndarray, steps: int) -> np.ndarray:
    """``series`` [C, T] in ``steps`` steps; where it shrinks, each new step is the mean of what it covers."""
    have = series.shape[1]
    if have == steps:
        return series
    if have < steps:
        at = np.linspace(0, have - 1, steps)
        return np.stack([np.interp(at, np.arange(have), channel) for channel in series]).astype(series.dtype)
    total = np.concatenate([np.zeros((len(series), 1)), np.cumsum(series, axis=1, dtype=np.float64)], axis=1)
    edges = np.linspace(0, have, steps + 1)
    below = np.minimum(edges.astype(int), have - 1)
    sums = total[:, below] + (edges - below) * series[:, below]
    return (np.diff(sums, axis=1) * (steps / have)).astype(series.dtype)


def choose_window(lengths: Sequence[int], window: str | None, rate: float | None) -> tuple[int, bool]:
    """(steps of a window, whether whole series are resampled to it) for series of ``lengths`` steps.

    Not asked for: series that are short and of like length are one event each, and resampled to the median; others
    are cut into windows of 2.56 s, or 128 steps, or shorter where most series are shorter than that.
    """
    ordered = np.sort(np.asarray(lengths))
    median = int(ordered[ordered.size // 2])
    events = ordered[-1] <= LONGEST_EVENT and ordered[-1] <= ALIKE * max(int(ordered[0]), 1)
    if window == "whole":
        return median, True
    if window is not None:
        return in_steps(window, rate, "window"), False
    if events and rate is None:
        return median, True
    steps = DEFAULT_STEPS if rate is None else max(2, round(DEFAULT_SECONDS * rate))
    return min(steps, max(2, int(np.percentile(ordered, 25, method="lower")))), False


def choose_hop(hop: str | None, window: int, rate: float | None) -> int:
    """Steps from a window to the next; half a window where not asked for."""
    if hop is None:
        return max(1, window // 2)
    if hop.endswith("%"):
        return max(1, round(window * float(hop[:-1]) / 100))
    return in_steps(hop, rate, "hop")


def in_words(steps: int, rate: float | None) -> str:
    return f"{steps} steps" if rate is None else f"{steps} steps ({steps / rate:.3g} s at {rate:.4g} Hz)"
