"""Tasks: where a learner stands in its stream of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import BadInput
from ..methods.context import TaskInfo
from ..storage.sets import union
from ..storage.trusted import require
from .task_names import Names

Array = np.ndarray
_MOST_WITHOUT = 65_536  # tasks in a row of which nothing was trained


class Tasks:
    """The present task, and the head units of the earlier ones.

    Parameters
    ----------
    exist : False in a stream without tasks

    number : of the task that is trained, 0-based;  begun : whether method and policy were told of it
    waiting : names of the task that is trained and of those observed after it whose ends were declared
    name : of the task that is observed, as the caller calls it, or None
    ending : samples of the task whose end has begun and was not completed (its phases were interrupted), or None
    """

    def __init__(self, exist: bool) -> None:
        self.exist = exist
        self.number = 0
        self.name: str | None = None
        self.begun = False
        self.waiting: list[str | None] = []
        self.ending: int | None = None
        self._units: list[Array] = []  # of each task so far
        self._sets: dict[bytes, Array] = {}  # those that some task had
        self._names = Names()

    def check(self) -> None:
        """Raise `BadInput` in a stream without tasks."""
        if not self.exist:
            raise BadInput("This learner was made with tasks=False: its stream has no tasks.", "Drop the task.")

    def info(self, units: Array) -> TaskInfo:
        """The present task, of these head units; they are remembered for Task-IL predictions."""
        if not self.exist:
            return TaskInfo(None, False, None)
        while len(self._units) <= self.number:
            self._units.append(np.zeros(0, np.int64))
        self._units[self.number] = self._one(union(self._units[self.number], units))
        self._names.put(self.number, self.waiting[0] if self.waiting else self.name)
        return TaskInfo(self.number, self.number == 0, np.asarray(units, np.int64))

    def _one(self, units: Array) -> Array:
        """The array that stands for these units wherever tasks have them: tasks that come again cost a number each."""
        return self._sets.setdefault(units.tobytes(), units)

    def declare_end(self, name: str | None) -> None:
        """The task that is observed is over, ``name`` follows."""
        self.waiting.append(self.name)
        self.name = name

    def ended(self) -> None:
        """The task that was trained is over."""
        self.waiting.pop(0)
        self.number, self.begun, self.ending = self.number + 1, False, None

    def of(self, task: Any) -> tuple[int, Array]:
        """(number, head units) of a task by number or by the name it was given. Raises `BadInput`."""
        self.check()
        wanted = repr(task.item() if isinstance(task, np.generic) else task)
        if (named := self._names.find(wanted)) is not None:
            number = named
        elif isinstance(task, (int, np.integer)) and 0 <= task < len(self._units):
            number = int(task)
        else:
            raise BadInput(f"No task {task!r} has been learned.", f"There are {len(self._units)}, numbered from 0.")
        return number, self._units[number]

    def state(self) -> dict[str, Any]:
        sets = {id(units): units for units in self._units}
        self._sets = {units.tobytes(): units for units in sets.values()}  # what no task has any more goes
        places = {key: place for place, key in enumerate(sets)}
        return {
            "tasks": self.exist,
            "task": self.number,
            "task_name": self.name,
            "new_task": not self.begun,
            "ending": self.ending,
            "waiting": list(self.waiting),
            "task_units": np.concatenate([*sets.values(), np.zeros(0, np.int64)]),
            "task_sizes": np.array([len(u) for u in sets.values()], np.int64),
            "task_sets": np.array([places[id(u)] for u in self._units], np.int32),
            **self._names.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or an earlier one."""
        self.number, self.begun = int(state["task"]), not state["new_task"]
        self.name, self.ending = state.get("task_name"), state.get("ending")
        self.waiting = list(state.get("waiting", [self.name] if self.ending is not None else ()))
        bounds = np.cumsum([0, *np.array(state.get("task_sizes", ()), np.int64)])
        units = np.array(state.get("task_units", ()), np.int64)
        self._sets = {}
        sets = [self._one(units[a:b]) for a, b in pairwise(bounds)]
        of_task = np.asarray(state.get("task_sets", np.arange(len(sets))))
        require(not len(of_task) or (of_task.min() >= 0 and of_task.max() < len(sets)), "'task_sets' names no set")
        self._units = [sets[k] for k in of_task.tolist()]
        self._names = Names.of(state)
        known = max(len(self._units), len(self._names))
        require(known <= self.number + 1 and self.number <= known + _MOST_WITHOUT, "'task' is none of its tasks")
