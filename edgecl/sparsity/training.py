"""SparseTraining: mask policy and gradient masking as the learner drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.base import Engine
from ..engine.model import Model, Parameter
from ..errors import BadInput
from ..methods.batch import Batch, Draw
from .base import Array, Importances, SparsityPolicy, StepInfo
from .dgm import DGM
from .gradients import two_gradients
from .masks import exact_count, magnitude_pattern


class SparseTraining:
    """One step of the learner:

        changed = sparse.before_forward(engine, info, batch, replay, rng)
        result = method.train_step(engine, batch, replay, rng, lr, before_step=sparse.before_step)

    sizes     : weights per tensor
    densities : target density of each masked tensor (a tensor at 1.0 has no mask)
    masked_gradients : tensors under gradient masking
    All random draws come from the generator passed in, tensors in graph order.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        densities: Mapping[str, float],
        policy: SparsityPolicy,
        dgm: DGM | None = None,
        masked_gradients: Sequence[str] = (),
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.sizes = dict(sizes)
        self.densities = {n: d for n, d in densities.items() if d < 1.0}
        self.policy = policy
        self.dgm = dgm
        self.masked_gradients = tuple(masked_gradients)
        self._description = dict(description or {})
        self._info: StepInfo | None = None
        self._refresh = False
        self._last: dict[str, Array] = {}
        self._subsets: dict[str, Array] = {}
        self._restore = False

    @property
    def gradient_keep(self) -> float:
        return 1.0 if self.dgm is None else self.dgm.keep

    # -- for the planner

    def max_densities(self) -> dict[str, float]:
        """Highest density of each masked tensor over the schedule."""
        return {n: self.policy.max_density(d) for n, d in self.densities.items()}

    def extra_bytes(self) -> int:
        """Bytes kept between steps: a float32 gradient copy per living weight, int32 gradient subsets."""
        living = sum(exact_count(d, self.sizes[n]) for n, d in self.max_densities().items())
        trained = sum(
            exact_count(self.gradient_keep * self.densities.get(n, 1.0), self.sizes[n]) for n in self.masked_gradients
        )
        return 4 * living * self.policy.last_gradient + 4 * trained * (self.dgm is not None)

    def check(self, epochs: int | None, steps: int | None) -> None:
        """Plan time: `BadInput` when a technique that was asked for would never fire on such a task."""
        if not self.densities:
            return
        self.policy.check(epochs, steps)
        if self.policy.name != "static" and all(
            exact_count(self.policy.max_density(d), self.sizes[n]) == exact_count(d, self.sizes[n])
            for n, d in self.densities.items()
        ):
            raise BadInput(
                "TDM was asked for but would never move a weight: delta is below one weight of each tensor.",
                "Raise delta, use a larger network, or the static mask.",
            )

    # -- for the learner

    def setup(self, model: Model, rng: np.random.Generator) -> None:
        """One-shot magnitude patterns on a dense model. A tensor that already has a pattern keeps it."""
        for name in self.densities:
            self.prune(model[name])

    def prune(self, parameter: Parameter) -> None:
        """`setup` of one tensor."""
        density = self.densities.get(parameter.spec.name)
        if density is not None and parameter.pattern is None:
            parameter.set_pattern(magnitude_pattern(parameter.values, density))

    def begin_task(self, task: int | None) -> None:
        """Before a task's first step. The last task's final gradient stays for the first update."""
        self._info = None

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
        if self._restore:
            self._set_subsets(engine, self._subsets)
            self._restore = False
        self._info = info
        changed = self._update_patterns(engine, info, batch, replay, rng, micro_batch)
        self._refresh = False
        if self.dgm is not None and self.dgm.due(info, changed):
            if self.dgm.form == "paper":
                current, replayed = two_gradients(engine, batch, replay, self.masked_gradients, micro_batch)
                self._choose_subsets(
                    engine,
                    {
                        n: self.dgm.importance(current[n], None if replayed is None else replayed[n])
                        for n in self.masked_gradients
                    },
                )
            else:
                self._refresh = True  # all living weights get a gradient; `before_step` chooses among them
                for name in self.masked_gradients:
                    engine.set_gradient_mask(name, None)
        return changed

    def before_step(self, engine: Engine) -> None:
        """Between backward and step: choose gradient subsets, keep the gradient an update will look at."""
        if self._refresh:
            self._choose_subsets(engine, {n: np.abs(engine.gradients[n]) for n in self.masked_gradients})
            self._refresh = False
        if self._info is not None and self.policy.last_gradient and self.policy.due_after(self._info):
            self._last = {n: _masked_gradient(engine, n) for n in self.densities}

    def _update_patterns(
        self,
        engine: Engine,
        info: StepInfo,
        batch: Batch,
        replay: Sequence[Draw],
        rng: np.random.Generator,
        micro_batch: int | None,
    ) -> bool:
        update = self.policy.due(info) if self.densities else None
        if update is None:
            return False
        current: dict[str, Array] = {}
        replayed: dict[str, Array] | None = None
        if self.policy.two_gradients and update.prune is not None:
            current, replayed = two_gradients(engine, batch, replay, tuple(self.densities), micro_batch)
        changed = False
        for name, density in self.densities.items():
            p = engine.model[name]
            last = self._last.get(name)
            importances = Importances(
                last=last if last is not None and last.size == p.living else None,
                current=current.get(name),
                replay=None if replayed is None else replayed[name],
            )
            patterns = self.policy.new_patterns(p, density, update, importances, rng)
            if p.frozen:  # drawn all the same, so that freezing one tensor does not change another's draws
                continue
            for pattern in patterns:
                engine.set_pattern(name, pattern)
                changed = True
        self._last = {}
        return changed

    def _choose_subsets(self, engine: Engine, importance: Mapping[str, Array]) -> None:
        assert self.dgm is not None
        self._subsets = {
            n: self.dgm.subset(engine.model[n], self.densities.get(n, 1.0), score) for n, score in importance.items()
        }
        self._set_subsets(engine, self._subsets)

    @staticmethod
    def _set_subsets(engine: Engine, subsets: Mapping[str, Array]) -> None:
        for name, subset in subsets.items():
            engine.set_gradient_mask(name, subset)

    # -- checkpoint

    def state(self) -> dict[str, Array]:
        """Kept gradients (``last/NAME``) and gradient subsets (``subset/NAME``); patterns are the model's."""
        return {
            **{f"last/{n}": a for n, a in self._last.items()},
            **{f"subset/{n}": a for n, a in self._subsets.items()},
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned; gradient masks reach the engine before its next step."""
        self._last = {k[5:]: np.array(v, np.float32) for k, v in state.items() if k.startswith("last/")}
        self._subsets = {k[7:]: np.array(v, np.int32) for k, v in state.items() if k.startswith("subset/")}
        self._refresh = False
        self._restore = True

    def describe(self) -> dict[str, Any]:
        """The choices, as plain values for the run record."""
        return dict(self._description)


def _masked_gradient(engine: Engine, name: str) -> Array:
    """|gradient| over the living weights, 0 outside the gradient subset; a copy."""
    gradient = np.abs(engine.gradients[name])
    subset = engine.model[name].gradient_subset
    if subset is None:
        return gradient
    masked = np.zeros_like(gradient)
    masked[subset] = gradient[subset]
    return masked
