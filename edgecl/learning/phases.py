"""Phases: the training that method and policy asked for at a task's border, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..budget.stop import Stop
from ..errors import BadInput
from ..methods.phase import Phase
from .context import EventContext
from .phase_loop import PhaseLoop
from .session import Session
from .trainer import Trainer


class Phases:
    """A queue that survives stops and saved states: what is pending is trained before anything else.

    number : of the phase that is trained next, within its border
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.queue: list[Phase] = []
        self.number = 0
        self._loop: PhaseLoop | None = None
        self._saved: Mapping[str, Any] | None = None  # of a loop whose data is not there yet

    def __bool__(self) -> bool:
        return bool(self.queue)

    def add(self, phases: Sequence[Phase]) -> None:
        """Train these next. Raises `BadInput` for one that the network or the plan cannot do."""
        engine = self._trainer.parts.engine
        for phase in phases:
            names = (*(phase.only or ()), *(n for n in phase.reset if n != "*"))
            unknown = next((n for n in names if n not in engine.model.parameters), None)
            if unknown is not None:
                raise BadInput(f"A phase names the parameter '{unknown}', which the network has not.", "Check it.")
            if engine.plan.extras.trains == "none":
                raise BadInput("A phase would train, and this method's plan trains nothing.", "Ask for no phase.")
            if phase.data != "task" and self._trainer.parts.memory is None:
                raise BadInput("A phase trains on the memory, and there is none.", "Declare Needs(draws=...).")
        if not self.queue:
            self.number = 0
        self.queue += phases

    def run(self, session: Session, context: EventContext, **hooks: Callable[..., Any]) -> Stop | None:
        """Train what is pending, watched by ``session``, until it is done or a hook says that it is enough (then some
        is still pending); the `Stop` when something else ended it. Hooks as in `Session.run`."""
        if self._loop is not None:  # its samples are those of an earlier call
            self._saved, self._loop = self._loop.state(), None
        while self.queue:
            loop = self._loop = PhaseLoop(self._trainer, context, self.queue[0], self.number)
            if self._saved is not None:
                loop.load(self._saved)
                self._saved = None
            stop = session.run(loop, **hooks)
            if not loop.finished:
                return stop
            loop.end()
            self._loop = None
            self.queue.pop(0)
            self.number += 1
        return None

    def state(self) -> dict[str, Any]:
        return {
            "queue": [phase.to_json() for phase in self.queue],
            "number": self.number,
            "loop": self._saved if self._loop is None else self._loop.state(),
        }

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Continue from `state`; None is a state saved before there were phases."""
        self._loop = None
        self.queue = [] if state is None else [Phase.from_json(p) for p in state["queue"]]
        self.number = 0 if state is None else int(state["number"])
        self._saved = None if state is None else state["loop"]
