"""Position: where a run stands in its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .task_loop import TaskLoop


class Position:
    """task : the present one, 0-based;  loop : of its own epochs, None before and after them
    ending : whether its own epochs are over and its end is not
    resumed_from : the trainer's step at which this process began, None where it began anew
    finished : whether the method was told that the last task is over
    """

    def __init__(self) -> None:
        self.task = 0
        self.loop: TaskLoop | None = None
        self.ending = False
        self.resumed_from: int | None = None
        self.finished = False

    def state(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "loop": None if self.loop is None else self.loop.state(),
            "ending": self.ending,
            "finished": self.finished,
        }

    def load(self, state: Mapping[str, Any], make_loop: Callable[[int], TaskLoop]) -> None:
        """Continue from `state`, of this version or an earlier one; the samples of the task must be there."""
        self.task, self.ending, self.loop = int(state["task"]), bool(state.get("ending", False)), None
        self.finished = bool(state.get("finished", False))
        if state["loop"] is not None:
            self.loop = make_loop(self.task)
            self.loop.load(state["loop"])
