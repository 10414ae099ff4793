"""Miro: which sizes of replay memory and stream buffer give the most accuracy per joule (MobiCom 2023, 3.3).

Only the choice is here: `edgecl.learning.miro` finds out what a setting is worth.

Two things differ from the paper. There an epoch runs over memory and buffer together, so both cost energy; here a step
replays a fixed number of rows whatever the memory's size, so memory costs no joules and the largest there is RAM for
is tried. And of 8 to 50 candidates the paper keeps the best 20 to 50 % by rank; of three, ranks are noise, so the
cutline is a share of the best accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadInput

SHARES = (1.0, 0.5, 0.25)  # of the task
CUTLINE = 0.2  # share of the best held-out accuracy that may be given up for joules; small trials overstate it
FRUGAL_CUTLINE = 0.4
REDUCTION, LARGEST_REDUCTION = 0.05, 0.25  # of task and memory in a trial; where samples are few, more
LEAST = 8  # samples of a class in the smallest trial, up to the largest reduction
HELD_OUT = 240  # samples that score a trial, equally per class, at least one and at most half of a class


@dataclass(frozen=True)
class Setting:
    """memory : slots of the episodic memory;  buffer : samples of the present task that are trained on"""

    memory: int
    buffer: int


@dataclass(frozen=True)
class Score:
    """A setting with its accuracy on held-out training samples and the joules, or any unit of work, of a task."""

    setting: Setting
    accuracy: float
    joules: float


@dataclass(frozen=True)
class Resources:
    """memory : slots there is RAM for;  frugal : the battery is low or the device hot"""

    memory: int
    frugal: bool = False


def candidates(memory: int, task: int, stored: int, classes: int) -> list[Setting]:
    """Settings for ``memory`` slots there is RAM for and a task of ``task`` samples, the largest first.

    stored : samples of earlier tasks that the store can fill slots with;  classes : seen so far; each keeps a slot
    and a sample at least
    """
    most = max(min(memory, stored), 1)
    buffers = sorted({max(round(s * task), min(classes, task)) for s in SHARES}, reverse=True)
    return [Setting(most, b) for b in buffers]


def reduction(settings: Sequence[Setting], new: int) -> float:
    """Of the sizes in trials of a task with ``new`` classes: it keeps their ratios."""
    return min(LARGEST_REDUCTION, max(REDUCTION, LEAST * new / min(s.buffer for s in settings)))


def averaged(earlier: Sequence[Score], n: int, found: Sequence[Score]) -> list[Score]:
    """Scores of ``n`` earlier profiles and one more, setting by setting: one trial tells little."""
    if n == 0 or len(earlier) != len(found):
        return list(found)
    return [Score(b.setting, (n * a.accuracy + b.accuracy) / (n + 1), b.joules) for a, b in zip(earlier, found)]


def choose(scores: Sequence[Score], resources: Resources, cutline: float = CUTLINE) -> Score:
    """The most accuracy per joule among settings that fit and reach 1 - ``cutline`` of the best accuracy; when
    frugal, the least joules of a wider field. Ties go to the more accurate, then to the smaller.
    """
    fitting = [s for s in scores if s.setting.memory <= resources.memory]
    if not fitting:  # less RAM than any candidate: the smallest memory, cut to what there is
        fitting = [s for s in scores if s.setting.memory == min(x.setting.memory for x in scores)]
    if not fitting:
        raise BadInput("There is no setting to choose from.", "Profile at least one.")
    least = (1 - (FRUGAL_CUTLINE if resources.frugal else cutline)) * max(s.accuracy for s in fitting)
    kept = [s for s in fitting if s.accuracy >= least]
    if resources.frugal:
        return min(kept, key=lambda s: (s.joules, -s.accuracy, s.setting.memory))
    return max(kept, key=lambda s: (s.accuracy / s.joules, s.accuracy, -s.setting.memory))
