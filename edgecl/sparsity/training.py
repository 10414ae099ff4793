"""SparseTraining: mask policy and gradient masking as the training core drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.base import Engine
from ..engine.model import Model, Parameter
from ..errors import BadInput
from ..methods.batch import Batch, Draw
from ..methods.context import Context
from ..methods.phase import Phase
from . import footprint
from .base import SparsityPolicy, StepInfo
from .dgm import DGM
from .event import PolicyContext
from .gather import Gathered
from .gradients import two_gradients
from .masks import exact_count, magnitude_pattern
from .moves import BrokenContract, Moves, are_positions, stages, within
from .tensor import Array, Target, Tensors


class SparseTraining:
    """One step of the learner:

        changed = sparse.before_forward(engine, info, batch, replay, rng)
        result = method.train_step(engine, batch, replay, rng, lr, before_step=sparse.before_step)

    and at a task's borders ``begin_task(c)`` and ``end_task(c)``, which return the policy's phases.

    targets : the masked tensors (a tensor at density 1.0 has no mask), in graph order
    sizes   : weights of every tensor that is masked or under gradient masking
    masked_gradients : tensors under gradient masking
    All random draws come from the generator passed in, tensors in graph order.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        sizes: Mapping[str, int],
        policy: SparsityPolicy,
        dgm: DGM | None = None,
        masked_gradients: Sequence[str] = (),
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.targets = dict(targets)
        self.densities = {n: t.density for n, t in targets.items()}
        self.sizes = dict(sizes)
        self.policy = policy
        self.dgm = dgm
        self.masked_gradients = tuple(masked_gradients)
        self._description = dict(description or {})
        self._gathered = Gathered(policy, self.targets)
        self._refresh = False
        self._changed = False  # a pattern, since the gradient subsets were chosen
        self._subsets: dict[str, Array] = {}
        self._trains: dict[str, Array] = {}
        self._restore = False

    @property
    def gradient_keep(self) -> float:
        return 1.0 if self.dgm is None else self.dgm.keep

    # -- for the planner

    def max_densities(self) -> dict[str, float]:
        """Highest density of each masked tensor over the schedule."""
        return {n: self.policy.peak_density(d) for n, d in self.densities.items()}

    def training_densities(self) -> dict[str, float]:
        """Density of each masked tensor in most of the steps."""
        return {n: self.policy.training_density(d) for n, d in self.densities.items()}

    def extra_bytes(self) -> int:
        """Bytes kept between steps: evidence for a move, the policy's own state, int32 gradient subsets."""
        trained = sum(
            exact_count(self.gradient_keep * self.densities.get(n, 1.0), self.sizes[n]) for n in self.masked_gradients
        )
        kept = self.policy.kept_bytes(self.targets) if self.targets else 0
        return footprint.evidence_bytes(self.policy, self.targets) + kept + 4 * trained * (self.dgm is not None)

    def passing_bytes(self, trained: Mapping[str, int]) -> int:
        """Bytes taken while evidence is gathered and patterns change. ``trained``: size of every trained parameter."""
        return footprint.passing_bytes(self.policy, self.targets, trained)

    def check(self, epochs: int | None, steps: int | None) -> None:
        """Plan time: `BadInput` when a technique that was asked for would never fire on such a task."""
        if not self.targets:
            return
        self.policy.check(epochs, steps)
        if self.policy.moves and not any(self.policy.can_move(t) for t in self.targets.values()):
            raise BadInput(
                f"Policy '{self.policy.name}' was asked for but would never move a weight: what it exchanges is below "
                "one weight of each tensor.",
                "Let it exchange more, use a larger network, or the policy static.",
            )

    # -- for the learner

    def setup(self, model: Model, rng: np.random.Generator) -> None:
        """One-shot magnitude patterns on a dense model. A tensor that already has a pattern keeps it."""
        for name in self.targets:
            self.prune(model[name])

    def prune(self, parameter: Parameter) -> None:
        """`setup` of one tensor."""
        target = self.targets.get(parameter.spec.name)
        if target is not None and parameter.pattern is None:
            density = self.policy.start_density(target.density)
            if density < 1.0:
                parameter.set_pattern(magnitude_pattern(parameter.values, density))

    def begin_task(self, c: Context) -> Sequence[Phase]:
        """Before a task's first step: the phases that the policy wants to run before the task's epochs. The last task's
        final gradient stays for the first move.
        """
        self._gathered.stop()
        return self._event("begin_task", c)

    def end_task(self, c: Context) -> Sequence[Phase]:
        """After a task's last step: the phases that the policy wants to run before the evaluation."""
        self._gathered.stop()
        return self._event("end_task", c)

    def _event(self, hook: str, c: Context) -> Sequence[Phase]:
        if not self.targets:
            return ()
        self._reach(c.engine)
        tensors = Tensors(c.engine.model, self.densities)
        return tuple(getattr(self.policy, hook)(PolicyContext(c, tensors, lambda moves: self._apply(c.engine, moves))))

    def before_forward(
        self,
        engine: Engine,
        info: StepInfo,
        batch: Batch,
        replay: Sequence[Draw],
        rng: np.random.Generator,
        *,
        micro_batch: int | None = None,
    ) -> bool:
        """Update patterns and prepare gradient masks where they are due. True when a pattern changed."""
        self._reach(engine)
        self._gathered.stop()
        if self.targets and info.phase is None:
            evidence = self._gathered.before_move(engine, info, batch, replay, micro_batch)
            moves = self.policy.move(Tensors(engine.model, self.densities), evidence, info, rng)
            if moves is not None:
                self._apply(engine, moves)
                self._gathered.used()
        changed, self._changed = self._changed, False
        self._refresh = False
        if self.dgm is not None and self.dgm.due(info, changed):
            self._refresh_subsets(self.dgm, engine, batch, replay, micro_batch)
        self._gathered.watch(engine)  # last: passes of gradient masking end a visit
        return changed

    def before_step(self, engine: Engine) -> None:
        """Between backward and step: choose gradient subsets, keep the evidence a move will look at."""
        if self._refresh and self.dgm is not None:
            self._choose_subsets(self.dgm, engine, {n: np.abs(engine.gradients[n]) for n in self.masked_gradients})
            self._refresh = False
        self._gathered.after_backward(engine)

    def params_at(self, engine: Engine, task: int) -> dict[str, Array] | None:
        """Values for a Task-IL prediction of a 0-based task, for ``engine.forward(params=)``: weights outside the
        policy's `patterns_at` are 0. None: predict with the model as it is.
        """
        patterns = self.policy.patterns_at(task) if self.targets else None
        if patterns is None:
            return None
        found = {}
        for name, used in patterns.items():
            p = engine.model[name]
            values = np.zeros_like(p.values)
            at = within(p.pattern, used)
            values[at] = p.values[at]
            found[name] = values
        return found

    # -- patterns

    def _apply(self, engine: Engine, moves: Moves) -> None:
        """Check all of it, then change patterns, frozen parameters and what trains."""
        model, peaks = engine.model, self.max_densities()
        names = (*moves.changes, *moves.freeze, *moves.unfreeze, *moves.trains)
        if odd := next((n for n in names if n not in model.parameters), None):
            raise self._broken(f"names '{odd}', which '{model.graph.name}' has not")
        if odd := next((n for n in moves.changes if n not in peaks), None):
            raise self._broken(f"changes the pattern of '{odd}', which is not sparse")
        for name, positions in moves.trains.items():
            if positions is not None and not are_positions(positions, model[name].spec.size):
                raise self._broken(f"trains positions of '{name}' that are no sorted int32 list of distinct ones")
        changes = {n: change for n, change in moves.changes.items() if not model[n].frozen}
        for name, change in changes.items():  # all are checked before one is applied, and none of the patterns kept
            stages(self.policy.name, model[name], change, peaks[name])
        moved = set()
        for name, change in changes.items():
            for pattern in stages(self.policy.name, model[name], change, peaks[name]):
                engine.set_pattern(name, pattern)
                moved.add(name)
                self._subsets.pop(name, None)
        self._changed = self._changed or bool(moved)
        if moves.freeze:
            engine.freeze(moves.freeze)
        if moves.unfreeze:
            engine.unfreeze(moves.unfreeze)
        for name, positions in moves.trains.items():
            self._trains.pop(name, None)
            if positions is not None:
                self._trains[name] = np.array(positions, np.int32)
            self._changed = self._changed or name in self.masked_gradients
        self._set_masks(engine, [*moves.trains, *sorted((moved & set(self._trains)) - set(moves.trains))])

    def _broken(self, what: str) -> BrokenContract:
        return BrokenContract(f"Policy '{self.policy.name}' {what}.", "See edgecl.sparsity.Moves for what it may do.")

    # -- gradient masks

    def _set_masks(self, engine: Engine, names: Sequence[str]) -> None:
        """Whatever the policy lets train, before gradient masking chooses among it."""
        for name in names:
            engine.set_gradient_mask(name, self._trained(engine, name))

    def _trained(self, engine: Engine, name: str) -> Array | None:
        trains = self._trains.get(name)
        return None if trains is None else within(engine.model[name].pattern, trains)

    def _refresh_subsets(
        self, dgm: DGM, engine: Engine, batch: Batch, replay: Sequence[Draw], micro_batch: int | None
    ) -> None:
        if dgm.form == "released":
            self._refresh = True  # everything that may train gets a gradient; `before_step` chooses among it
            self._set_masks(engine, self.masked_gradients)
            return
        current, replayed = two_gradients(engine, batch, replay, self.masked_gradients, micro_batch)
        self._choose_subsets(
            dgm,
            engine,
            {n: dgm.importance(current[n], None if replayed is None else replayed[n]) for n in self.masked_gradients},
        )

    def _choose_subsets(self, dgm: DGM, engine: Engine, importance: Mapping[str, Array]) -> None:
        self._subsets = {
            n: dgm.subset(engine.model[n], self.densities.get(n, 1.0), score, self._trained(engine, n))
            for n, score in importance.items()
        }
        for name, subset in self._subsets.items():
            engine.set_gradient_mask(name, subset)

    def _reach(self, engine: Engine) -> None:
        """After `load`: masks reach the engine before it is used."""
        if not self._restore:
            return
        self._restore = False
        self._set_masks(engine, [n for n in self._trains if n not in self._subsets])
        for name, subset in self._subsets.items():
            engine.set_gradient_mask(name, subset)

    # -- checkpoint

    def state(self) -> dict[str, Array]:
        """Kept evidence (``last/NAME``, ``candidates/NAME``, ``scores/NAME``), gradient subsets (``subset/NAME``), what
        trains (``trains/NAME``) and the policy's own (``policy/KEY``); patterns are the model's.
        """
        return {
            **self._gathered.state(),
            **{f"subset/{n}": a for n, a in self._subsets.items()},
            **{f"trains/{n}": a for n, a in self._trains.items()},
            **({"changed": np.ones(1, np.uint8)} if self._changed else {}),
            **{f"policy/{k}": a for k, a in self.policy.state().items()},
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned; gradient masks reach the engine before its next step."""

        def part(prefix: str) -> dict[str, Array]:
            return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

        self._gathered.load(state)
        self._subsets = {k: np.array(v, np.int32) for k, v in part("subset/").items()}
        self._trains = {k: np.array(v, np.int32) for k, v in part("trains/").items()}
        self._changed = "changed" in state
        self.policy.load(part("policy/"))
        self._refresh = False
        self._restore = True

    def describe(self) -> dict[str, Any]:
        """The choices, as plain values for the run record."""
        return dict(self._description)
