"""Undo: what a call of `learn` changed, taken back when its loss said that it ruined the weights."""

from __future__ import annotations

import numpy as np

from ..budget.stop import Stop
from .core import Core


class Undo:
    """What a call can change as it was before: the method's own state and, where anything is trained, weights,
    optimizer state and what lies beside them.
    """

    def __init__(self, core: Core) -> None:
        p = core.parts
        self._core = core
        trained = p.engine.plan.extras.trains != "none"
        self._engine = p.engine.state() if trained else None
        self._state = {"sparse": p.sparse.state(), "method": p.method.state()}
        self._phases = core.phases.state()
        self._offered = 0 if p.memory is None else p.memory.offered

    def after(self, stop: Stop | None) -> list[str]:
        """Go back when the loss was not finite; what to say then."""
        if stop is None or stop.kind != "loss":
            return []
        p = self._core.parts
        if self._engine is not None:
            p.engine.load(self._engine)
        p.sparse.load(self._state["sparse"])
        p.method.load(self._state["method"])
        self._core.phases.load(self._phases)
        memory = p.memory
        if memory is not None:  # samples remembered since stay, the values that an undone model gave them do not
            slots = np.flatnonzero(memory.order >= self._offered)
            for name in memory.fields:
                memory.update_field(slots, name, np.zeros((slots.size, 0), memory.fields[name].dtype))
        return [stop.text]

    @staticmethod
    def text(stop: Stop | None) -> str | None:
        """Why the call ended early, for people."""
        if stop is not None and stop.kind == "loss":
            what = stop.text if stop.exploded else stop.ruin
            return f"{what} at step {stop.step}; weights are as they were before this call"
        return None if stop is None else stop.text
