"""PolicyRun: a small training over made-up tasks, step by step, with a sparsity policy at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..compiler import Optimizer
from ..engine.model import Model
from ..engine.select import compile_for, make_engine
from ..graph import Graph
from ..graph.builders import build
from ..learning.context import EventContext
from ..methods import Batch, Draw, make_method
from ..methods.phase import Phase
from ..sparsity import SparseTraining, SparsityPolicy, StepInfo, make_sparse_training
from .context import context_of

Array = np.ndarray
CLASSES_A_TASK, BATCH, REPLAY = 2, 12, 6


@dataclass(frozen=True)
class Setting:
    """What is trained on.

    tasks, epochs, epoch_steps : how long;  density : of the sparse tensors
    gradient_keep : of living weights (DGM)
    replay_forward, micro_batch : in how many forwards and backwards a step is made
    net : ``cnn`` with convolutions and group normalisation, or ``mlp``
    """

    tasks: int = 2
    epochs: int = 10
    epoch_steps: int = 6
    density: float = 0.25
    gradient_keep: float = 1.0
    replay_forward: str = "joint"
    micro_batch: int | None = None
    net: str = "mlp"

    def graph(self) -> Graph:
        classes = CLASSES_A_TASK * self.tasks
        if self.net == "cnn":
            return build("cnn", (2, 8, 8), classes, input_dtype="float32", widths=(6, 10, 8), norm="group")
        return build("mlp", (12,), classes, input_dtype="float32", hidden=(24, 20))

    def samples(self, task: int, key: int, rows: int, low: int | None = None) -> tuple[Array, Array]:
        """Labelled rows of tasks ``low`` (default: the same) to ``task``, drawn from ``key``: x float32, y int64."""
        shape = (2, 8, 8) if self.net == "cnn" else (12,)
        rng = np.random.default_rng([77, task, key])
        first = CLASSES_A_TASK * (task if low is None else low)
        y = rng.integers(first, CLASSES_A_TASK * (task + 1), rows)
        centres = np.random.default_rng(5).normal(size=(CLASSES_A_TASK * self.tasks, *shape))
        return (centres[y] + rng.normal(0, 0.7, (rows, *shape))).astype(np.float32), y.astype(np.int64)


@dataclass
class Segment:
    """Steps that are still to be made: a phase of a border, or the task's own epochs (phase None)."""

    phase: int | None
    steps: int
    epoch_steps: int
    lr: float = 0.05
    only: tuple[str, ...] | None = None
    done: int = 0


class PolicyRun:
    """``advance`` makes one step, with the borders and phases before it; False when all tasks are done.

    sparse, engine : as they are after the step;  at : words for where that was
    """

    def __init__(self, policy: SparsityPolicy, kind: str, setting: Setting, seed: int = 0) -> None:
        self.setting, self.graph = setting, setting.graph()
        self.sparse: SparseTraining = make_sparse_training(
            self.graph,
            sparsity=1 - setting.density,
            mask=policy,
            gradient_keep=setting.gradient_keep,
        )
        model = Model(self.graph, np.random.default_rng(seed), self.sparse.prune)
        rows = BATCH + REPLAY
        plan = compile_for(
            kind,
            self.graph,
            batch=rows,
            predict_batch=rows,
            densities=self.sparse.max_densities(),
            optimizer=Optimizer("sgd", 0.9, 1e-3),
            threads=1,
        )
        self.engine = make_engine(model, plan, kind)
        self.method = make_method("er", current_loss="masked", replay_forward=setting.replay_forward)
        self.rng = np.random.default_rng(seed + 1)
        self.task, self.begun, self.ended = 0, False, False
        self.segments: list[Segment] = []
        self.moved = False
        self.at = "at the start"

    # -- one step

    def advance(self) -> bool:
        while not self.segments:
            if self.task == self.setting.tasks:
                return False
            self.border()
        segment = self.segments[0]
        self._step(segment)
        segment.done += 1
        if segment.done == segment.steps:
            self.segments.pop(0)
        return True

    def border(self) -> None:
        """Begin or end the present task; its phases and epochs become segments."""
        s = self.setting
        if not self.begun:
            self.at = f"at the beginning of task {self.task + 1}"
            phases = self.sparse.begin_task(self.context())
            self.segments = [*self._phases(phases), Segment(None, s.epochs * s.epoch_steps, s.epoch_steps)]
            self.begun = True
        elif not self.ended:
            self.at = f"at the end of task {self.task + 1}"
            self.segments = self._phases(self.sparse.end_task(self.context()))
            self.ended = True
        else:
            self.task, self.begun, self.ended = self.task + 1, False, False

    def _phases(self, phases: Sequence[Phase]) -> list[Segment]:
        per_epoch = self.setting.epoch_steps
        found = []
        for i, phase in enumerate(phases):
            if phase.reset:
                names = [n for n in self.graph.parameters if phase.reset == ("*",) or n in phase.reset]
                self.engine.reset(names, self.rng)
            steps = phase.steps if phase.epochs is None else phase.epochs * per_epoch
            assert steps is not None
            found.append(Segment(i, steps, per_epoch, 0.05 if phase.lr is None else phase.lr.lr, phase.only))
        return [f for f in found if f.steps]

    def _step(self, segment: Segment) -> None:
        s, step = self.setting, segment.done
        where = "" if segment.phase is None else f" of phase {segment.phase + 1}"
        self.at = f"before step {step}{where} of task {self.task + 1}"
        key = step + 10_000 * (0 if segment.phase is None else 1 + segment.phase + 5 * self.ended)
        x, y = s.samples(self.task, key, BATCH)
        units = np.arange(CLASSES_A_TASK * self.task, CLASSES_A_TASK * (self.task + 1))
        batch = Batch(x, y, task=self.task, task_units=units)
        replay = []
        if self.task:
            rx, ry = s.samples(self.task - 1, key, REPLAY, low=0)
            replay = [Draw(np.arange(REPLAY), rx, ry)]
        epochs = s.epochs if segment.phase is None else -(-segment.steps // segment.epoch_steps)
        epoch, iteration = divmod(step, segment.epoch_steps)
        info = StepInfo(
            self.task, step, segment.steps, epoch, epochs, iteration, segment.epoch_steps, phase=segment.phase
        )
        shut = [] if segment.only is None else [n for n in self.graph.parameters if n not in segment.only]
        shut = [n for n in shut if not self.engine.model[n].frozen]
        self.engine.freeze(shut)
        self.moved = self.sparse.before_forward(self.engine, info, batch, replay, self.rng, micro_batch=s.micro_batch)
        self.after_move()
        self.method.train_step(
            context_of(self.engine, 0, task=self.task, units=units),
            batch,
            replay,
            segment.lr,
            micro_batch=s.micro_batch,
            before_step=self.sparse.before_step,
        )
        self.engine.unfreeze(shut)

    def after_move(self) -> None:
        """Called when patterns are those of the step, before its forward."""

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Copies of everything that the next step depends on."""
        return {
            "engine": {k: v.copy() for k, v in self.engine.state().items()},
            "sparse": {k: v.copy() for k, v in self.sparse.state().items()},
            "rng": self.rng.bit_generator.state,
            "place": (self.task, self.begun, self.ended),
            "segments": [replace(s) for s in self.segments],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.engine.load(state["engine"])
        self.sparse.load(state["sparse"])
        self.rng.bit_generator.state = state["rng"]
        self.task, self.begun, self.ended = state["place"]
        self.segments = [replace(s) for s in state["segments"]]

    # -- what a task's border sees

    def context(self) -> EventContext:
        """What the task's events see; there is no memory."""
        units = np.arange(CLASSES_A_TASK * self.task, CLASSES_A_TASK * (self.task + 1))
        x, y = self.setting.samples(self.task, 99, self.setting.epoch_steps * BATCH)
        return context_of(self.engine, self.rng, task=self.task, units=units, data=TaskSamples(x, y))


class TaskSamples:
    """A task's data in arrays; see `learning.task_data.TaskData`."""

    subjects = None

    def __init__(self, x: Array, labels: Array) -> None:
        self._x, self.labels, self.ids = x, labels, np.full(len(labels), -1, np.int64)

    def read(self, positions: Array) -> Array:
        return self._x[positions]

    def expect(self, positions: Array) -> None:
        """Nothing to read ahead."""
