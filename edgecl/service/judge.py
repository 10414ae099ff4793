"""Judge: whether a model got worse, by samples that neither the old nor the new one was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import NamedTuple

from .config import Holdout as Options

FADING = 200


class Verdict(NamedTuple):
    """Accuracies on the ``samples`` that both models answered; how many only the old one, only the new one got right;
    p of the exact one-sided McNemar test; whether it got worse.
    """

    samples: int
    before: float
    after: float
    lost: int
    won: int
    p: float
    worse: bool


def mcnemar(lost: int, won: int) -> float:
    """The chance of at least ``lost`` of lost + won changes being losses if both were as likely (exact binomial)."""
    n = lost + won
    return sum(comb(n, k) for k in range(lost, n + 1)) / 2**n


def compare(before: Mapping[int, bool], after: Mapping[int, bool], options: Options) -> Verdict | None:
    """Of which samples each model was right, by id. None with fewer samples in common than the options ask for."""
    common = before.keys() & after.keys()
    if len(common) < options.least:
        return None
    was, now = sum(before[i] for i in common), sum(after[i] for i in common)
    lost = sum(before[i] and not after[i] for i in common)
    won = sum(after[i] and not before[i] for i in common)
    p = mcnemar(lost, won)
    points = 100 * (was - now) / len(common)
    return Verdict(len(common), was / len(common), now / len(common), lost, won, p,
                   points >= options.worse and p < options.p)  # fmt: skip


class Prequential:
    """Accuracy on labelled samples before they are learned: a fading mean over the last 200."""

    def __init__(self) -> None:
        self.accuracy: float | None = None
        self.count = 0

    def add(self, right: bool) -> None:
        self.count += 1
        old = 0.0 if self.accuracy is None else self.accuracy
        self.accuracy = old + (right - old) / min(self.count, FADING)
