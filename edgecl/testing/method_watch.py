"""WatchedRun: a `MethodRun` that looks at every step, and tells what breaks the contract of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import EdgeclError
from ..methods import Method, StepResult
from ..planning.schedules import final_steps, phase_steps
from ..plugins import PluginError
from .method_run import MethodRun, Setting

Array = np.ndarray
SMALL = 1024  # bytes of state that nobody has to declare
SLACK = 64


class WatchedRun(MethodRun):
    """made : FLOPs of the dearest step of the last task;  copies : gradients ever copied
    written : arrays per weight that held something after any step
    widened : whether its head grew: the plan's FLOPs are of the narrow one
    """

    def __init__(
        self, method: type[Method] | Method, setting: Setting, seed: int = 0, like: WatchedRun | None = None
    ) -> None:
        self.name = method.name
        self.setting = setting
        try:
            super().__init__(method, setting, seed, like)
        except EdgeclError as error:
            raise self.broken(f"cannot be made: {error}", "needs") from error
        self._first = like is None  # what repeats another run gives its bits or is told, and is not looked at again
        self.made = self.copies = self.phase_steps = 0
        self.written: set[str] = set()
        self.widened = False
        self._copied = self._masked = 0  # in this step
        self._watch()

    def broken(self, what: str, where: str) -> AssertionError:
        place = f" on the {self.setting.engine} engine, {getattr(self, 'at', 'at the start')}"
        module = "edgecl.methods.Needs" if where in NEEDS else "edgecl.methods.Method"
        return AssertionError(f"Method '{self.name}'{place}: {what}. Read {module}.{where}.")

    # -- what is looked at

    def _watch(self) -> None:
        method, parts = self.method, self.core.parts
        step, offer, mask = method.train_step, method.offer_fields, parts.sparse.before_step
        gradients = parts.engine.gradients
        copy = gradients.copy

        def train_step(c: Any, batch: Any, replay: Any, lr: float, **how: Any) -> StepResult:
            given = [(rows.x, rows.y) for rows in (batch, *replay)]
            kept = [(x.copy(), y.copy()) for x, y in given]
            before = parts.engine.meters.steps
            self._copied = self._masked = 0
            result = step(c, batch, replay, lr, **how)
            if difference(kept, given):
                raise self.broken("wrote into the samples or labels it was given", "train_step")
            self._check_result(result, batch, replay, parts.engine.meters.steps - before)
            return result

        def offer_fields(result: StepResult, width: int) -> Mapping[str, Array]:
            fields = offer(result, width)
            self._check_fields(fields, len(result.logits_current), width)
            return fields

        def copied() -> Array:
            self._copied += 1
            self.copies += 1
            return copy()

        def before_step(engine: Any) -> None:
            self._masked += 1
            mask(engine)

        def counted(whole: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*given: Any, **how: Any) -> Any:
                meters = parts.engine.meters
                before = meters.forward_flops + meters.backward_flops
                result = whole(*given, **how)
                self._check_cost(meters.forward_flops + meters.backward_flops - before)
                return result

            return wrapped

        trainer = self.core.trainer
        trainer.step = counted(trainer.step)  # type: ignore[method-assign]
        trainer.phase_step = counted(trainer.phase_step)  # type: ignore[method-assign]
        method.train_step, method.offer_fields = train_step, offer_fields  # type: ignore[method-assign,assignment]
        gradients.copy, parts.sparse.before_step = copied, before_step  # type: ignore[method-assign]

    def _check_result(self, result: Any, batch: Any, replay: Sequence[Any], steps: int) -> None:
        engine = self.core.parts.engine
        if not isinstance(result, StepResult):
            raise self.broken(f"train_step returned {type(result).__name__}, not a StepResult", "train_step")
        counts = engine.plan.extras.trains == "none" or not (self.method.needs.on_the_way or self.in_phase)
        if not counts:
            if steps != 1:
                raise self.broken(f"train_step took {steps} steps of the engine, not one", "train_step")
            if self._masked != 1:
                raise self.broken(
                    f"train_step called before_step {self._masked} times, not once between backward and step",
                    "train_step",
                )
        shape = (len(batch), engine.model.graph.classes)
        if np.shape(result.logits_current) != shape:
            raise self.broken(
                f"logits_current of {np.shape(result.logits_current)} for a batch whose logits are {shape}",
                "train_step",
            )
        most = len(batch) + sum(len(d) for d in replay)
        least = 0 if counts else len(batch)
        if not least <= result.samples <= most:
            raise self.broken(
                f"says that {result.samples} rows went through the network, of {least} to {most}", "train_step"
            )
        if not np.isfinite(result.loss):
            raise self.broken(f"a step with loss {result.loss} was taken", "train_step")
        if self._copied > self.method.needs.gradient_copies:
            raise self.broken(
                f"copied the gradient {self._copied} times in a step, {self.method.needs.gradient_copies} are declared",
                "gradient_copies",
            )

    def _check_fields(self, fields: Mapping[str, Array], rows: int, width: int) -> None:
        declared = {f.name: f for f in self.method.needs.fields}
        if set(fields) != set(declared):
            raise self.broken(f"stores the fields {sorted(fields)} and declares {sorted(declared)}", "fields")
        for name, values in fields.items():
            wide = width if declared[name].width == "classes" else declared[name].width
            found = np.shape(values), np.asarray(values).dtype.name
            if found != ((rows, wide), declared[name].dtype):
                raise self.broken(
                    f"field '{name}' is {found[1]} {found[0]}, declared {declared[name].dtype} {(rows, wide)}", "fields"
                )

    # -- a step

    def advance(self) -> bool:
        """One step, then a look at what it left; an error of the method's is told as what broke."""
        drawn = np.random.get_state()[1:3] if self._first else None  # type: ignore[index]
        try:
            more = super().advance()
        except PluginError as error:
            hook = error.cause.partition(" failed in ")[2].partition(":")[0]
            raise self.broken(error.cause, hook or "train_step") from error
        except EdgeclError as error:
            raise self.broken(str(error), "train_step") from error
        if not self._first:
            return more
        if difference(drawn, np.random.get_state()[1:3]):  # type: ignore[index]
            raise self.broken("drew from numpy's own generator; Context.rng is saved and resumed", "train_step")
        self._check_phases(more)
        self._check_state()
        engine = self.core.parts.engine
        self.written.update(name for name in self.method.needs.per_weight if engine.per_weight(name).flat.any())
        if self.core.trainer.steps % 3 == 1 or not more:
            self.check_scores()
        return more

    def _check_cost(self, spent: int) -> None:
        """FLOPs of a step against the plan's."""
        if self.setting.sparsity or self.core.trainer.body is not None or self.widened:
            return
        if spent > self.plan.step_flops:
            raise self.broken(f"a step took {spent} FLOPs, {self.plan.step_flops} are planned", "passes")
        if self.task + 1 == self.setting.tasks:
            self.made = max(self.made, spent)

    def _check_phases(self, more: bool) -> None:
        """Their steps against the plan's."""
        self.phase_steps += more and self.at.startswith("in phase")
        config, passes = self.core.parts.config, self.method.needs.passes
        a_task, final = phase_steps(config, passes, self.setting.samples), final_steps(config, passes)
        if self.phase_steps > self.setting.tasks * a_task + final:
            raise self.broken(
                f"its phases have taken {self.phase_steps} steps; declared are {a_task} for each of "
                f"{self.setting.tasks} tasks and {final} at the end",
                "passes",
            )

    def _check_state(self) -> None:
        state = self.method.state()
        if not isinstance(state, Mapping) or not all(
            isinstance(k, str) and isinstance(v, np.ndarray) and v.dtype.kind != "O" for k, v in state.items()
        ):
            raise self.broken("state() holds something else than arrays by name", "state")
        held, needs = sum(a.nbytes for a in state.values()), self.method.needs
        graph = self.core.parts.engine.model.graph
        planned = SMALL
        if needs.statistics is not None:
            planned = needs.statistics(int(np.prod(graph.shapes[graph.features])), graph.classes) + SLACK
        if held > planned:
            raise self.broken(f"state() holds {held} bytes, {planned} are planned", "statistics")

    def check_scores(self) -> None:
        """Of samples of every class: their shape, nothing for unseen classes, and no trace of having been asked."""
        seen = self.core.trainer.seen.copy()
        if not seen.any():
            return
        x = self.setting.around(np.arange(self.setting.classes), np.random.default_rng(3))
        before = self._predicting()
        try:
            found = self.core.scores(x, seen)
        except EdgeclError as error:
            raise self.broken(str(error), "scores") from error
        if difference(before, self._predicting()) is not None:
            raise self.broken("a prediction changed its state", "scores")
        if np.shape(found) != (len(x), seen.size):
            raise self.broken(f"scores of {np.shape(found)} for {len(x)} samples and {seen.size} units", "scores")
        if np.isnan(found).any() or (found[:, seen] == -np.inf).all(axis=1).any():
            raise self.broken("scores are NaN, or -inf for every class seen so far", "scores")
        if (found[:, ~seen] != -np.inf).any():
            raise self.broken("a class without a sample has a score; it must be -inf", "scores")

    def _predicting(self) -> dict[str, Any]:
        parts = self.core.parts
        return {"method": {k: v.copy() for k, v in self.method.state().items()}, "engine": parts.engine.state()}


NEEDS = (
    "draws", "candidates", "merged", "holdout", "fields", "fetch", "predict", "predict_side", "sides",
    "gradient_copies", "per_weight", "statistics", "passes", "trains", "body", "needs",
)  # fmt: skip


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Where two states differ, a path, or None."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if odd := sorted(set(one) ^ set(other)):
            return f"{where}/{odd[0]}"
        found = (difference(one[k], other[k], f"{where}/{k}") for k in one)
        return next((f for f in found if f is not None), None)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        found = (difference(a, b, where) for a, b in zip(one, other))
        return next((f for f in found if f is not None), None)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and _same_bytes(one, other):
            return None
        return None if np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f") else where or "/"
    return None if one == other else where or "/"


def _same_bytes(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
