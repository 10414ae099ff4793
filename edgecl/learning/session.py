"""Session: the watched loop that `Learner.learn` and `run` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..budget import Budget, RunPlan
from ..budget.guard import Guard
from ..budget.stop import Stop
from ..budget.watch import make_energy_account, make_governor
from ..methods import NonFiniteLoss
from .explosion import Explosion
from .stopping import Stopping
from .task_loop import StepLog
from .trainer import Trainer


def _nothing(*_: object) -> None:
    return None


class Loop(Protocol):
    """Steps one after another: a `TaskLoop` or a `PhaseLoop`."""

    @property
    def finished(self) -> bool: ...
    def advance(self) -> StepLog | None: ...


class Session:
    """Steps of task loops under budgets, a governor, an energy account and a stop event.

    Parameters
    ----------
    trainer : whose steps are watched; the session lives as long as it
    stop : ends the loop after the present step when it is set
    shed : called with the step when RAM comes near its limit
    """

    def __init__(
        self, trainer: Trainer, budget: Budget, plan: RunPlan, stop: Stopping, shed: Callable[[int], None]
    ) -> None:
        self.trainer, self.budget, self.plan, self.stop = trainer, budget, plan, stop
        self.governor = make_governor(plan.config, self._log, stop.wait)
        joules = None if budget.energy is None else float(budget.energy)
        self.energy = make_energy_account(plan.config, joules, plan)
        self.guard = Guard(budget, plan, shed, self.energy)
        self._earlier = 0.0  # seconds of training before the present call
        self._began: float | None = None  # of the present call, by the working clock
        self._front_counted = 0.0  # seconds of the front that `_earlier` holds

    def _log(self, step: int, text: str) -> None:
        self.trainer.log.append((step, -1, text))

    # -- seconds of training, rests of the governor not counted

    @property
    def lap(self) -> float:
        """Seconds of the present call of `run`; 0 outside."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def seconds(self) -> float:
        """Seconds of all training so far, and of the front between calls of `run`; within one they are among those."""
        fresh = self._front_seconds - self._front_counted if self._began is None else 0.0
        return self._earlier + self.lap + fresh

    @property
    def _front_seconds(self) -> float:
        front = self.trainer.parts.front
        return 0.0 if front is None else front.seconds

    @property
    def waited(self) -> float:
        """Seconds that the governor rested."""
        return 0.0 if self.governor is None else self.governor.waited

    def _clock(self) -> float:
        return time.monotonic() - self.waited

    # -- the loop

    def run(
        self,
        loop: Loop,
        *,
        before: Callable[[], None] = _nothing,
        enough: Callable[[], bool] = lambda: False,
        after: Callable[[StepLog], None] = _nothing,
        on_pause: Callable[[], None] = _nothing,
    ) -> Stop | None:
        """Step until the loop is finished or ``enough()``; the `Stop` when something ended it before that.

        Parameters
        ----------
        before, after : called before each step, and with its log after it
        on_pause : called when the governor begins to rest
        A loss that is not finite, or has exploded (`Explosion`), ends it as a `Stop` of kind ``loss``: no weight was
        changed by a step whose loss was not finite.
        """
        explosion = Explosion(self.trainer.seen.size)
        self._earlier = self.seconds
        self._began = self._clock()
        self.energy.begin()
        try:
            while not (loop.finished or enough()):
                before()
                if enough():
                    break
                reason = self._reason(on_pause)
                if reason is not None:
                    return reason
                began = time.monotonic()
                log = loop.advance()
                if self.governor is not None:
                    self.governor.after_step(time.monotonic() - began)
                if log is not None:
                    after(log)
                    if explosion.after(log.loss):
                        return Stop("loss", explosion.text, self.trainer.steps)
        except NonFiniteLoss as error:
            return Stop("loss", error.cause, self.trainer.steps)
        finally:  # also when an interrupt or an error leaves the loop: the time was spent
            self._earlier, self._began = self.seconds, None
            self._front_counted = self._front_seconds
            self.energy.end()
        return None

    def _reason(self, on_pause: Callable[[], None]) -> Stop | None:
        steps = self.trainer.steps
        if not self.stop.is_set():
            reason = self.guard.reason(steps, self.trainer.flops, self.seconds, self.trainer.front_flops)
            if reason is not None:
                return reason
            if self.governor is not None:
                self.governor.before_step(steps, self.stop.is_set, on_pause)
        return Stop("asked", "stop() was called", steps) if self.stop.is_set() else None

    def counters(self) -> dict[str, Any]:
        """Seconds and joules of training so far, and what the governor did."""
        steps = self.trainer.steps
        return {
            "train_seconds": self.seconds,
            "energy_joules": {
                "value": self.energy.joules(steps + self.trainer.trial_steps),
                "source": self.energy.source,
            },
            "governor": None if self.governor is None else {**self.governor.to_json(), "level": self.governor.level},
        }

    def facts(self) -> dict[str, Any]:
        """What a record says of it: seconds, joules, the governor; plain values."""
        joules = self.energy.joules(self.trainer.steps + self.trainer.trial_steps, force=True)
        return {
            "train_seconds": self.seconds,
            "waited": self.waited,
            "governor": None if self.governor is None else self.governor.to_json(),
            "energy": {"value": joules, "source": self.energy.source},
        }

    # -- saved state

    def state(self) -> dict[str, Any]:
        return {
            "train_seconds": self.seconds,
            "energy": self.energy.state(),
            "governor": None if self.governor is None else self.governor.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, of this version or an earlier one."""
        self._earlier = float(state["train_seconds"])
        self._front_counted = self._front_seconds
        self.energy.load(state.get("energy") or {"joules": None})
        if self.governor is not None and state.get("governor") is not None:
            self.governor.load(state["governor"])
