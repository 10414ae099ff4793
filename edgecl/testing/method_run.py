"""MethodRun: a small training over made-up tasks by the real training core, step by step, with a method at work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from threading import Event
from typing import Any

import numpy as np

from ..budget import Budget
from ..budget.planner import PREDICT_BATCH, RunPlan
from ..config import Config
from ..graph import Graph
from ..graph.builders import build
from ..intake.spec import SampleSpec
from ..learning.core import Core
from ..learning.session import Session
from ..learning.task_loop import TaskLoop
from ..methods import Method
from ..methods.context import TaskInfo
from ..network import Network
from ..planning.configured import configured_method
from ..planning.costs import with_costs
from ..planning.memory import planned
from .policy_run import TaskSamples

Array = np.ndarray
CLASSES_A_TASK = 2


@dataclass(frozen=True)
class Setting:
    """What is trained on.

    Parameters
    ----------
    tasks, samples, epochs : how long; the last class of each task but the first is seen once
    batch, memory, micro_batch : as options of a run; no multiple of ``batch`` makes ``samples``
    sparsity : of the weights, whose patterns move in every few steps (SET)
    net : ``mlp``, or ``cnn`` with convolutions and batch normalisation
    in_tasks : False for a stream without tasks: ``tasks`` calls, nobody tells their borders
    """

    tasks: int = 3
    samples: int = 22
    epochs: int = 2
    batch: int = 8
    memory: int = 12
    micro_batch: int | None = None
    sparsity: float = 0.0
    net: str = "mlp"
    in_tasks: bool = True
    engine: str = "native"

    @property
    def classes(self) -> int:
        return CLASSES_A_TASK * self.tasks

    @property
    def shape(self) -> tuple[int, int, int]:
        return (2, 6, 6) if self.net == "cnn" else (1, 3, 4)

    def graph(self) -> Graph:
        if self.net == "cnn":
            return build("cnn", self.shape, self.classes, input_dtype="float32", widths=(4, 6, 8), norm="batch")
        return build("mlp", self.shape, self.classes, input_dtype="float32", hidden=(16, 12))

    @cache  # noqa: B019
    def task(self, number: int) -> TaskSamples:
        """Labelled samples: two classes, of the second one a single sample from the second task on."""
        rng = np.random.default_rng([31, number])
        first = CLASSES_A_TASK * number
        y = rng.integers(first, first + CLASSES_A_TASK, self.samples)
        if number:
            y[:] = first
            y[self.samples // 2] = first + 1
        return TaskSamples(self.around(y, rng), y.astype(np.int64))

    def around(self, y: Array, rng: np.random.Generator) -> Array:
        """float32 [n, *shape], each near the centre of its class."""
        centres = np.random.default_rng(5).normal(size=(self.classes, *self.shape))
        return (centres[y] + rng.normal(0, 0.7, (len(y), *self.shape))).astype(np.float32)

    def options(self) -> dict[str, Any]:
        """Of a configuration."""
        moving = {"sparsity": self.sparsity, "sparsity_policy": "set", "set_update_every": 3} if self.sparsity else {}
        return {
            "network": self.net, "batch": self.batch, "memory": self.memory, "epochs": self.epochs, "lr": 0.05,
            "momentum": 0.5, "engine": self.engine, "micro_batch": self.micro_batch, **moving,
        }  # fmt: skip


class MethodRun:
    """``advance`` makes one step, with the events before it; False when all tasks are done.

    core, plan : as they are after the step;  at : words for where that was
    like : a run with the same method and setting, whose plan is taken over
    """

    def __init__(
        self, method: type[Method] | Method | str, setting: Setting, seed: int = 0, like: MethodRun | None = None
    ) -> None:
        self.setting = setting
        graph, spec = setting.graph(), SampleSpec(setting.shape, "float32", "image")
        if like is None:
            config = Config.make({**setting.options(), "method": method, "seed": seed})
            made = configured_method(config)
            plan, growth = planned(config, graph, made, spec, setting.samples)
            config = config.replace(activations="float32", predict_batch=min(plan.batch, PREDICT_BATCH))
            self.plan = with_costs(RunPlan(config, plan, 0, growth), graph, made, [setting.samples] * setting.tasks)
        else:
            self.plan = replace(like.plan, config=replace(like.plan.config, seed=seed))
        self.core = Core(self.plan, Network(graph), spec, "check")
        self.session = Session(self.core.trainer, Budget(), self.plan, Event(), lambda step: None)
        self.task, self.begun, self.ending, self.finished = 0, False, False, False
        self.loop: TaskLoop | None = None
        self.at = "at the start"

    @property
    def method(self) -> Method:
        return self.core.parts.method

    @property
    def in_phase(self) -> bool:
        return bool(self.core.phases)

    # -- one step

    def advance(self) -> bool:
        """One step, and what comes before it."""
        before = self.core.trainer.steps
        while self.core.trainer.steps == before:
            if self.core.phases:
                where = f"in phase {self.core.phases.number + 1} "
                self.at = f"{where}{'after' if self.ending or self.finished else 'before'} the epochs of {self.words}"
                enough = lambda: self.core.trainer.steps > before  # noqa: E731
                self.core.run_phases(self.session, self.info, self.data, enough=enough)
            elif self.finished:
                return False
            elif not self.begun:
                self.begin()
            elif self.loop is not None and not self.loop.finished:
                self.at = f"at step {self.loop.done + 1} of {self.words}"
                self.loop.advance()
            elif self.setting.in_tasks and not self.ending:
                self.at, self.ending = f"at the end of {self.words}", True
                self.core.end_task(self.info, self.data)
            elif self.task + 1 < self.setting.tasks:
                self.task, self.begun, self.ending, self.loop = self.task + 1, False, False, None
            else:
                self.at, self.finished = "at the end of the last task", True
                self.core.finish(self.info, self.data)
        return True

    def begin(self) -> None:
        self.at = f"at the beginning of {self.words}"
        self.core.see(np.unique(self.data.labels))
        if self.setting.in_tasks or not self.task:
            self.core.begin_task(self.info, self.data)
        self.begun = True
        self.loop = self._made_loop()

    def _made_loop(self) -> Any:
        if self.setting.in_tasks:
            return self.core.loop(self.info, self.data, self.setting.epochs)
        return _Bounded(self.core.loop(self.info, self.data, None), self.setting.epochs)

    @property
    def words(self) -> str:
        return f"task {self.task + 1}" if self.setting.in_tasks else f"call {self.task + 1} of a stream without tasks"

    @property
    def data(self) -> TaskSamples:
        return self.setting.task(self.task)

    @property
    def info(self) -> TaskInfo:
        if not self.setting.in_tasks:
            return TaskInfo(None, False, None)
        return TaskInfo(self.task, self.task == 0, np.unique(self.data.labels))

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Copies of everything that the next step depends on."""
        place = (self.task, self.begun, self.ending, self.finished)
        loop = None if self.loop is None else self.loop.state()
        return _copied({"core": self.core.state(), "place": place, "loop": loop})

    def load(self, state: Mapping[str, Any]) -> None:
        state = _copied(state)
        wide = len(state["core"]["trainer"]["seen"])
        if wide > self.core.classes:
            self.core.widen(wide)
        self.task, self.begun, self.ending, self.finished = state["place"]
        self.core.load(state["core"])
        self.loop = None
        if state["loop"] is not None:
            self.loop = self._made_loop()
            self.loop.load(state["loop"])

    def close(self) -> None:
        self.core.close()


class _Bounded:
    """So many epochs of a loop that has no end."""

    def __init__(self, loop: TaskLoop, epochs: int) -> None:
        self._loop, self._epochs = loop, epochs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    @property
    def finished(self) -> bool:
        return self._loop.epoch >= self._epochs


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value
