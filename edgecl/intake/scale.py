"""The scale of raw features: mean and deviation from the first samples, and how many later ones lie far outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph.scale import Scale

Array = np.ndarray
FIRST, FEWEST = 2000, 32  # samples that the scale is taken from, at most and, of large ones, at least
VALUES = 16384  # of a channel that are enough
CLIPPED = 6.0  # robust deviations beyond which a value counts as the border
FAR = 20.0  # deviations from the mean beyond which a sample is worth a warning
QUARTILES = 1.349  # of a normal distribution: the way between its quartiles over its deviation


def robust_scale(x: Array) -> Scale:
    """(mean, std) per channel of the first samples of x [n, C, ...], values far from the median clipped before.

    Far: more than `CLIPPED` times the deviation that the quartiles speak of. A channel that never moves has std 1.
    """
    per_sample = int(np.prod(x.shape[2:], dtype=np.int64))
    x = x[: min(FIRST, max(FEWEST, VALUES // per_sample))]
    found = [_of_channel(x[:, channel].astype(np.float64).reshape(-1)) for channel in range(x.shape[1])]
    return tuple(mean for mean, _ in found), tuple(std for _, std in found)


def _of_channel(values: Array) -> tuple[float, float]:
    low, middle, high = np.percentile(values, (25, 50, 75))
    if high > low:  # else most are one value: nothing to clip by
        border = CLIPPED * (high - low) / QUARTILES
        values = np.clip(values, middle - border, middle + border)
    mean, std = float(values.mean()), float(values.std())
    return rounded(mean), rounded(std) if std > max(1e-6 * abs(mean), 1e-30) else 1.0


def rounded(value: float) -> float:
    """Six significant digits, which do not depend on the order of a sum; a float32's range."""
    return float(np.float32(f"{value:.6g}"))


class ScaleWatch:
    """Counts samples that lie far outside the scale of the network's input.

    scale : (mean, std) per channel, or None where nothing is normalised, or nothing is worth a look
    open : whether the first samples are to say it;  chosen : whether they did
    """

    def __init__(self, scale: Scale | None, open: bool = False) -> None:
        self.scale, self.open, self.chosen = scale, open, False
        self.far = self.seen = 0
        self._worst: tuple[float, int] = (0.0, 0)  # deviations, channel

    def choose(self, scale: Scale) -> str:
        """Take over a scale from the first samples; what to say of it."""
        self.scale, self.open, self.chosen = scale, False, True
        mean, std = (np.asarray(values) for values in scale)
        return (
            f"The input is normalised by the mean ({span(mean)}) and deviation ({span(std)}) of the first samples; "
            "give mean= and std= for others."
        )

    def look(self, x: Array) -> None:
        """Count samples x [n, C, ...] with a value far from the mean."""
        if self.scale is None or self.open or not len(x):
            return
        flat = x.reshape(len(x), x.shape[1], -1)
        mean, std = (np.asarray(values, np.float64) for values in self.scale)
        away = np.maximum(flat.max(2) - mean, mean - flat.min(2)) / std
        far = away.max(1) > FAR
        self.seen += len(x)
        self.far += int(far.sum())
        sample, channel = np.unravel_index(int(away.argmax()), away.shape)
        if away[sample, channel] > max(self._worst[0], FAR):
            self._worst = float(away[sample, channel]), int(channel)

    def follow(self, scale: Scale | None) -> None:
        """The scale that a loaded network has."""
        self.scale = None if self.scale is None else scale

    def state(self) -> dict[str, int]:
        return {"scale_open": int(self.open), "scale_chosen": int(self.chosen)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; an older one keeps the scale of its network."""
        self.open, self.chosen = (bool(state.get(k, 0)) for k in ("scale_open", "scale_chosen"))

    def warning(self) -> str | None:
        """What to say of samples since the last warning, once; None when none was far."""
        if not self.far:
            return None
        away, channel = self._worst
        text = (
            f"{self.far} of {self.seen} samples hold values more than {FAR:g} deviations from the mean of the input "
            f"(channel {channel}: {away:.3g}): check their units, or give mean= and std= that fit them."
        )
        self.far = self.seen = 0
        self._worst = (0.0, 0)
        return text


def checked_scale(values: Any, channels: int) -> Scale:
    """A (mean, std) from a saved state. Raises ValueError."""
    mean, std = (tuple(float(v) for v in part) for part in values)
    if len(mean) != channels or len(std) != channels or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError("the scale of the input is not finite, or not one per channel")
    return mean, std


def span(values: Array) -> str:
    """'3.2', or '1.5 to 40' over several channels."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
