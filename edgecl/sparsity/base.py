"""The contract of sparsity policies, and where a step lies in its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ..engine.model import Parameter

Array = np.ndarray


@dataclass(frozen=True)
class StepInfo:
    """A step's place. Counters start at 0 with the task (or with a learn call of its own).

    task : 0-based, None in a task-free stream
    step : steps done in the task;  steps : planned total, or None
    epoch, epochs : current and planned;  iteration : steps done in the epoch;  epoch_steps : batches in it
    An open-ended stream has steps, epochs and epoch_steps None and a step count that goes on rising.
    Data removal may end a task before ``steps``; only ``epoch_steps`` must be exact.
    """

    task: int | None
    step: int
    steps: int | None = None
    epoch: int = 0
    epochs: int | None = None
    iteration: int = 0
    epoch_steps: int | None = None


@dataclass(frozen=True)
class Update:
    """One pattern update: keep the most important down to sparsity s + prune * delta, then grow at random to
    s + grow * delta. None skips that half.
    """

    prune: int | None
    grow: int | None


@dataclass(frozen=True)
class Importances:
    """What a policy may look at, float32 [living] each, canonical order, absolute values; None where absent.

    last : gradient of the whole loss at the last step before the update, 0 where it was masked
    current : of the single-head cross-entropy on current data
    replay : of the cross-entropy on replayed data
    """

    last: Array | None = None
    current: Array | None = None
    replay: Array | None = None


class SparsityPolicy(Protocol):
    """At its schedule, given importances, returns new patterns per tensor."""

    name: ClassVar[str]
    two_gradients: bool  # wants Importances.current and .replay, from passes of their own
    last_gradient: bool  # wants Importances.last

    def due(self, info: StepInfo) -> Update | None:
        """The update that runs before this step, or None."""

    def due_after(self, info: StepInfo) -> bool:
        """Whether the gradient of this step is the one an update will look at."""

    def new_patterns(
        self,
        parameter: Parameter,
        density: float,
        update: Update,
        importances: Importances,
        rng: np.random.Generator,
    ) -> list[Array]:
        """Patterns to set one after the other; ``density`` is the tensor's target. Shrinking and growing are
        two patterns, so that a weight dropped and grown again starts at zero like any newcomer.
        """

    def max_density(self, density: float) -> float:
        """The highest density a tensor of target ``density`` reaches over the schedule."""

    def check(self, epochs: int | None, steps: int | None) -> None:
        """Plan time: `BadInput` when the schedule would never fire on a task of this length."""
