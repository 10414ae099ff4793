"""Intervals and verdicts of the reproduction ledger: Student's t, Welch, paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

NO_DIFFERENCE: dict[str, object] = {"mean": None, "interval95": None}


def t_quantile(degrees: float, share: float = 0.975) -> float:
    """x with P(T <= x) = ``share`` for Student's t; by bisection of an integral."""
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, degrees) < share else (low, middle)
    return (low + high) / 2


def _t_share(x: float, degrees: float) -> float:
    """P(T <= x) for x >= 0, by Simpson's rule over the angle of x / sqrt(degrees)."""
    top, pieces = math.atan(x / math.sqrt(degrees)), 400
    h = top / pieces
    weights = [1 if i in (0, pieces) else 4 if i % 2 else 2 for i in range(pieces + 1)]
    total = sum(w * math.cos(i * h) ** (degrees - 1) for i, w in enumerate(weights))
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    return 0.5 + scale * total * h / 3


def welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """(mean of ours minus theirs, 95 % interval) of two samples with variances of their own; at least two each."""
    a, b = (stdev(v) ** 2 / len(v) for v in (ours, theirs))
    difference = mean(ours) - mean(theirs)
    if a + b == 0:
        return difference, (difference, difference)
    degrees = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    half = t_quantile(degrees) * math.sqrt(a + b)
    return difference, (difference - half, difference + half)


def paired(differences: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """(mean, 95 % interval) of differences between runs with the same seed; at least two."""
    half = t_quantile(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return mean(differences), (mean(differences) - half, mean(differences) + half)


def seeds_wanted(sd: float, margin: float) -> int:
    """Seeds a side that decide a figure at 80 % power: 2 (2.8 sd / margin)^2."""
    return max(5, math.ceil(2 * (2.8 * sd / margin) ** 2))


def figure_verdict(
    ours: Sequence[float], theirs: Sequence[float], margin: float, differences: Sequence[str]
) -> tuple[str, str, dict[str, object]]:
    """(verdict, why, {mean, interval95}) of a claim about a figure. Percent."""
    if len(ours) < 2 or len(theirs) < 2:
        return "open", f"n = {len(ours)} of ours, {len(theirs)} of theirs: no interval", NO_DIFFERENCE
    difference, (low, high) = welch(ours, theirs)
    found = {"mean": round(difference, 3), "interval95": [round(low, 3), round(high, 3)]}
    if differences:
        return "not comparable", "; ".join(differences), found
    if stdev(theirs) > 5:
        return "not comparable", f"their runs spread by {stdev(theirs):.1f}: only an order can be claimed", found
    if high < -margin:
        return "not reproduced", f"below by more than {margin:g}", found
    if low > margin:
        return "better", f"above by more than {margin:g}: find out why", found
    if -margin <= low and high <= margin and len(ours) >= 5 and len(theirs) >= 3:
        return "reproduced", f"within {margin:g}", found
    wanted = seeds_wanted(max(stdev(ours), stdev(theirs)), margin)
    return "open", f"{wanted} seeds a side would decide", found


def order_verdict(above: Sequence[float], below: Sequence[float]) -> tuple[str, str, dict[str, object]]:
    """(verdict, why, {mean, interval95}) of the claim that ``above`` beats ``below``, paired by seed."""
    differences = [a - b for a, b in zip(above, below)]
    if len(differences) < 2:
        return "open", f"n = {len(differences)}: 5 seeds would tell", NO_DIFFERENCE
    difference, (low, high) = paired(differences)
    found = {"mean": round(difference, 3), "interval95": [round(low, 3), round(high, 3)]}
    if low > 0:
        return "reproduced", "above in the 95 % interval", found
    if high < 0:
        return "not reproduced", "below in the 95 % interval", found
    wanted = math.ceil((2.8 * stdev(differences) / max(abs(difference), 0.5)) ** 2)
    return "open", f"{max(wanted, len(differences) + 1)} paired seeds would decide", found
