"""SparsityPolicy: the contract of sparsity policies, and where a step lies in its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..engine.base import Engine
from ..errors import BadInput
from ..methods.batch import Batch, Draw
from ..methods.phase import Phase
from ..options import Configurable
from .event import PolicyContext
from .look import NOTHING, Evidence, Look
from .masks import exact_count
from .moves import Moves
from .tensor import Array, Target, Tensor

MOVE_BYTES = 28  # a living weight of the tensor that moves: scores, the choice among them, old and new arrays


@dataclass(frozen=True)
class StepInfo:
    """A step's place. Counters start at 0 with the task (or with a learn call or a phase of its own).

    task : 0-based, None in a task-free stream
    step : steps done in the task;  steps : planned total, or None
    epoch, epochs : current and planned;  iteration : steps done in the epoch;  epoch_steps : batches in it
    phase : which `Phase` of a task's border this is, 0-based; None in the task's own epochs
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
    phase: int | None = None


class SparsityPolicy(Configurable):
    """Base of sparsity policies: which weights live. As it stands it is a pattern that never moves.

    A policy never touches the model: it sees read-only `Tensor` views and returns `Moves`, which are checked whole
    before the first of them is applied. Before each step of a task's own epochs the core asks

        look(info)                                    evidence to gather: see `Look`
        move(tensors, evidence, info, rng)            patterns to change, or None

    and at a task's borders `begin_task` and `end_task`, which may move patterns too (`PolicyContext.apply`) and ask
    for `Phase` s of training. In a phase patterns stand still. All randomness comes from the generator passed in; all
    state between steps goes through `state` and `load`. Options are declared in the class (`edgecl.options.option`).

    Attributes
    ----------
    name : of the policy
    contract : version of this contract
    moves : whether patterns change after the model was made
    looks : everything that `look` will ever return; bytes are planned for these
    """

    name: ClassVar[str] = ""
    contract: ClassVar[int] = 1
    moves: ClassVar[bool] = True
    looks: tuple[Look, ...] = ()

    # -- plan time

    def options(self) -> dict[str, Any]:
        """The keyword arguments that make this policy again; plain values, for the run record."""
        return self.hyper()

    def check(self, epochs: int | None, steps: int | None) -> None:
        """Raise `BadInput` when the schedule would never fire on a task of this many epochs and steps; both None is
        an open-ended stream.
        """

    def can_move(self, tensor: Target) -> bool:
        """Whether a tensor of this size and density is large enough for the policy to move a weight."""
        return True

    def start_density(self, density: float) -> float:
        """Density, by magnitude, with which a tensor of target ``density`` begins."""
        return density

    def peak_density(self, density: float) -> float:
        """Highest density that a tensor of target ``density`` ever has: the plan's."""
        return self.start_density(density)

    def training_density(self, density: float) -> float:
        """Density at which most steps run: what the plan's FLOPs count."""
        return density

    def final_density(self, density: float, task: int) -> float:
        """Exact density at the end of the 0-based task."""
        return density

    def kept_bytes(self, tensors: Mapping[str, Target]) -> int:
        """Bytes of the arrays that the policy itself keeps between steps, at most, and 8 for each weight in
        `Moves.trains`. Evidence that it looks for is counted by the core.
        """
        return 0

    def moving_bytes(self, tensors: Mapping[str, Target]) -> int:
        """Bytes that a move, or an event at a task's border, takes and gives back, at most; the evidence and the
        gradients laid out anew are counted by the core. By default scores, a choice among them and the exchange of one
        tensor after the other.
        """
        if not self.moves:
            return 0
        return MOVE_BYTES * max(exact_count(self.peak_density(t.density), t.size) for t in tensors.values())

    # -- training

    def begin_task(self, c: PolicyContext) -> Sequence[Phase]:
        """Before a task's first step; phases run before the task's own epochs."""
        return ()

    def end_task(self, c: PolicyContext) -> Sequence[Phase]:
        """After a task's last step; phases run before the evaluation."""
        return ()

    def look(self, info: StepInfo) -> Look:
        """Evidence of this step that a move wants; one of `looks`, or `NOTHING`."""
        return NOTHING

    def move(
        self, tensors: Mapping[str, Tensor], evidence: Mapping[str, Evidence], info: StepInfo, rng: np.random.Generator
    ) -> Moves | None:
        """Changes of pattern before this step, of all tensors at once; None when nothing is due (evidence is kept).

        Draw from ``rng`` tensor after tensor in the order of ``tensors`` (graph order), frozen ones included, so that
        freezing one does not change the draws of another.
        """
        return None

    def passes(self, engine: Engine, batch: Batch, replay: Sequence[Draw]) -> Mapping[str, Array]:
        """Passes of the policy's own, on a step that looks for `Passes`: arrays by tensor, given to the move as
        `Evidence.own`. Forward at most ``engine.plan.batch`` rows at once. Gradients and batch-norm statistics are
        discarded afterwards.
        """
        raise NotImplementedError(f"Policy '{self.name}' looks for passes and has none.")

    # -- prediction

    def patterns_at(self, task: int) -> Mapping[str, Array] | None:
        """Weights that a Task-IL prediction for this 0-based task uses: int32 sorted flat positions by tensor. None:
        those that live.
        """
        return None

    # -- saved state

    def state(self) -> dict[str, Array]:
        """Arrays that resume needs; patterns, frozen parameters and what trains are saved by the core."""
        return {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays of a saved `state`. Raise `BadInput` for arrays that the policy never saves."""
        if state:
            raise BadInput(
                f"The saved state holds '{min(state)}' of a sparsity policy, which '{self.name}' does not keep.",
                "Continue with the policy it was saved with.",
            )
