"""Miro: which sizes of replay memory and stream buffer give the most accuracy per joule (MobiCom 2023, 3.3).

Only the choice is here: `edgecl.learning.miro` finds out what a setting is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadInput

SHARES = (1.0, 0.5, 0.25)  # of the planned memory, and of the task: nine candidates at most
CUTLINE = 0.5  # share of the candidates, the most accurate first, among which the thriftiest wins (Miro: 0.2 to 0.5)
FRUGAL_CUTLINE = 0.8
REDUCTION = 0.1  # of task and memory in a trial; Miro takes 0.05 of far larger ones
LEAST = 8  # samples of a class in a trial, where there are so many
HELD_OUT = 24  # samples of a class that score a trial, where there are twice as many


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
    """Settings for ``memory`` planned slots and a task of ``task`` samples, the largest first.

    stored : samples of earlier tasks that the store can fill slots with;  classes : seen so far; each keeps a slot
    and a sample at least
    """
    most = max(min(memory, stored), 1)
    slots = sorted({max(round(s * most), min(classes, most)) for s in SHARES}, reverse=True)
    buffers = sorted({max(round(s * task), min(classes, task)) for s in SHARES}, reverse=True)
    return [Setting(m, b) for m in slots for b in buffers]


def choose(scores: Sequence[Score], resources: Resources, cutline: float = CUTLINE) -> Score:
    """The most accuracy per joule among the most accurate of what fits; when frugal, the least joules of a wider
    field. Ties go to the more accurate, then to the smaller.
    """
    fitting = [s for s in scores if s.setting.memory <= resources.memory]
    if not fitting:  # less RAM than any candidate: the smallest memory, cut to what there is
        fitting = [s for s in scores if s.setting.memory == min(x.setting.memory for x in scores)]
    if not fitting:
        raise BadInput("There is no setting to choose from.", "Profile at least one.")
    share = FRUGAL_CUTLINE if resources.frugal else cutline
    ranked = sorted(fitting, key=lambda s: (-s.accuracy, s.joules, s.setting.memory))
    kept = ranked[: max(1, math.ceil(share * len(ranked) - 1e-9))]
    if resources.frugal:
        return min(kept, key=lambda s: (s.joules, -s.accuracy, s.setting.memory))
    return max(kept, key=lambda s: (s.accuracy / s.joules, s.accuracy, -s.setting.memory))
