"""Gathered: the evidence that a policy asked for, from the step that shows it to the move that wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..engine.base import Engine
from ..errors import BadInput
from ..methods.batch import Batch, Draw
from .base import SparsityPolicy, StepInfo
from .dense import DeadGradients
from .gradients import two_gradients, unmasked
from .look import LAST, NOTHING, TWO, Candidates, Dense, Evidence, Look, Passes, covers
from .masks import exact_count
from .moves import BrokenContract
from .tensor import Array, Target


class Gathered:
    """In a step: `before_move`, then `used` if something moved, `watch` before the forward, `after_backward`."""

    def __init__(self, policy: SparsityPolicy, targets: Mapping[str, Target]) -> None:
        self._policy, self._targets = policy, targets
        self._last: dict[str, Array] = {}
        self._dead: dict[str, Candidates] = {}
        self._look: Look = NOTHING
        self._visit: DeadGradients | None = None

    def before_move(
        self, engine: Engine, info: StepInfo, batch: Batch, replay: Sequence[Draw], micro_batch: int | None
    ) -> dict[str, Evidence]:
        """What is known before this step, by tensor."""
        self._look = self._policy.look(info)
        if not covers(self._policy.looks, self._look):
            raise BrokenContract(
                f"Policy '{self._policy.name}' looks for {self._look}, which it did not declare in `looks`.",
                "See edgecl.sparsity.SparsityPolicy: bytes are planned for what is declared.",
            )
        current: Mapping[str, Array] = {}
        replayed: Mapping[str, Array] | None = None
        own: Mapping[str, Array] = {}
        if self._look == TWO:
            current, replayed = two_gradients(engine, batch, replay, tuple(self._targets), micro_batch)
        elif isinstance(self._look, Passes):
            own = self._own_passes(engine, batch, replay, self._look.count)
        found = {}
        for name in self._targets:
            last = self._last.get(name)
            found[name] = Evidence(
                last=last if last is not None and last.size == engine.model[name].living else None,
                current=current.get(name),
                replay=None if replayed is None else replayed[name],
                dead=self._dead.get(name),
                own=own.get(name),
            )
        return found

    def _own_passes(self, engine: Engine, batch: Batch, replay: Sequence[Draw], count: int) -> Mapping[str, Array]:
        before = engine.meters.backwards
        with unmasked(engine, tuple(self._targets)):
            own = self._policy.passes(engine, batch, replay)
        ran = engine.meters.backwards - before
        if ran > count:
            raise BrokenContract(
                f"Policy '{self._policy.name}' announced {count} passes of its own and ran {ran}.",
                "See edgecl.sparsity.Passes: the plan counts what is announced.",
            )
        return own

    def used(self) -> None:
        """A move has been made of the evidence."""
        self._last, self._dead = {}, {}

    def watch(self, engine: Engine) -> None:
        """Before the forward: arrange for what this step's backward is to show."""
        if isinstance(self._look, Dense):
            counts = {n: exact_count(self._look.top * t.density, t.size) for n, t in self._targets.items()}
            self._visit = DeadGradients(engine, counts)
            engine.visit_dense_gradients(tuple(self._targets), self._visit.visit)

    def after_backward(self, engine: Engine) -> None:
        """Before the step: keep what was looked for."""
        if self._visit is not None:
            self._dead = self._visit.candidates()
        if self._look == LAST:
            self._last = {n: _masked_gradient(engine, n) for n in self._targets}
        self.stop()

    def stop(self) -> None:
        """Nothing is looked for any more; what was kept stays."""
        self._look, self._visit = NOTHING, None

    def state(self) -> dict[str, Array]:
        """What is kept between steps: ``last/NAME``, ``candidates/NAME``, ``scores/NAME``."""
        return {
            **{f"last/{n}": a for n, a in self._last.items()},
            **{f"candidates/{n}": c.positions for n, c in self._dead.items()},
            **{f"scores/{n}": c.scores for n, c in self._dead.items()},
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned; raises `BadInput` for candidates that are none."""
        self.stop()
        self._last = {k[5:]: np.array(v, np.float32) for k, v in state.items() if k.startswith("last/")}
        self._dead = {}
        for key, positions in state.items():
            if not key.startswith("candidates/"):
                continue
            name = key.removeprefix("candidates/")
            scores = state.get(f"scores/{name}")
            target = self._targets.get(name)
            positions = np.array(positions, np.int32)
            if (
                target is None
                or scores is None
                or positions.ndim != 1
                or np.shape(scores) != positions.shape
                or (positions.size and (positions[0] < 0 or positions[-1] >= target.size))
                or np.any(np.diff(positions) <= 0)
            ):
                raise BadInput(f"The saved candidates of '{name}' do not fit it.", "The state is damaged.")
            self._dead[name] = Candidates(positions, np.array(scores, np.float32))


def _masked_gradient(engine: Engine, name: str) -> Array:
    """|gradient| over the living weights, 0 outside the gradient subset; a copy."""
    gradient = np.abs(engine.gradients[name])
    subset = engine.model[name].gradient_subset
    if subset is None:
        return gradient
    masked = np.zeros_like(gradient)
    masked[subset] = gradient[subset]
    return masked
