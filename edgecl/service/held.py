"""Held: the learner as the service holds it. Every call of a `Learner` that the service makes is here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..budget import Budget
from ..budget.governor import PAUSE
from ..checkpoint import generations
from ..errors import BadInput
from ..intake.spec import SampleSpec
from ..learner import Learner
from ..learning.root_key import root_key
from ..network import Network
from .bodies import Samples
from .config import ServiceConfig

LOG = logging.getLogger("edgecl.service")
PIECE = 32  # rows of a prediction that nobody waits for


def new_learner(config: ServiceConfig, store: Path, use: tuple[str, ...] = (), **more: Any) -> Learner:
    """The configured learner over a store."""
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.learner.items()}
    return Learner(**options, store=str(store), budget=Budget(**config.budget), use=use, **more)


def open_learner(config: ServiceConfig, use: tuple[str, ...] = ()) -> Learner:
    """The learner saved in the state folder, else a new one over the store that lies there, saved at once.

    Raises `BadInput` for an input shape that is not the saved one's.
    """
    state = config.state
    saved, store = state / "learner", state / "store"
    budget = Budget(**config.budget)
    key = root_key(config.serve.root_key, str(state), make=not store.exists())
    if generations(saved):
        learner = Learner.open(saved, store=store, budget=budget, root_key=key, use=use)
        wanted = tuple(config.learner["input_shape"])
        if tuple(learner.spec.shape) != wanted:
            found = list(learner.spec.shape)
            learner.close()
            raise BadInput(f"The saved learner takes {found}, [learner] says {list(wanted)}.", "Use another state.")
        return learner
    learner = new_learner(config, store, use, path=saved, root_key=key)
    try:
        learner.save()
    except BaseException:
        learner.close()
        raise
    return learner


class Held:
    """A learner, what of it is being done, and what came since it last learned.

    learning : whether a `learn` runs;  fresh : samples taken since it last began
    slot : name of the kept model that the present one comes from
    """

    def __init__(self, learner: Learner, end_task: str, buffer: int = 2000) -> None:
        self.learner, self._end_task, self._buffer = learner, end_task, buffer
        self.learning = False
        self.fresh = 0
        self.taken = 0
        self.unsaved = False
        self.slot = "a"
        self._task: str | None = None
        self._count = threading.Lock()
        self._standing: tuple[Callable[[np.ndarray], np.ndarray], tuple[Any, ...]] | None = None
        self.on_step: Callable[[float], None] | None = None  # is told the seconds of each step

    # -- what is read at any time

    @property
    def spec(self) -> SampleSpec:
        return self.learner.spec

    @property
    def front(self) -> str:
        """What raw samples pass before the network, by name."""
        return str(self.learner.plan.config.front)

    @property
    def steps(self) -> int:
        return self.learner.model.steps

    @property
    def state_bytes(self) -> int:
        """What a saved state may take: three numbers a weight, the stream buffer, the memory, and a margin."""
        weights = sum(prod(shape) for shape in self.learner.parameters.values())
        rows = self._buffer + int(self.learner.plan.config.memory)
        return 12 * weights + rows * (self.spec.bytes + 128) + (1 << 20)

    @property
    def resting(self) -> bool:
        """Whether the governor holds training."""
        governor = self.learner.counters["governor"]
        return governor is not None and governor["level"] == PAUSE

    @property
    def step_seconds(self) -> float:
        """A training step's, so far."""
        return self.learner.counters["train_seconds"] / max(1, self.steps)

    @property
    def predict_batch(self) -> int:
        return int(self.learner.plan.plan.predict_batch)

    def shares(self, x: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...], int, str]:
        """float32 [n, k] probabilities of samples, the labels they are of, steps and slot of the weights that serve."""
        serving = self._standing
        if serving is not None:
            found = serving[0](x)
            return found, serving[1][: found.shape[1]], self.steps, self.slot
        return self.live_shares(x)

    def live_shares(self, x: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...], int, str]:
        """See `shares`; by the weights that learn, also while others serve."""
        steps, slot = self.steps, self.slot
        found = self.learner.predict(x, proba=True)
        return found, self.learner.labels[: found.shape[1]], steps, slot

    def facts(self) -> dict[str, Any]:
        """Counters of the learner, and its labels."""
        return {"labels": list(self.learner.labels), **self.learner.counters}

    # -- the intake thread

    def changes_task(self, samples: Samples) -> bool:
        """Whether taking these ends a task. Raises `BadInput` where tasks are nobody's to name."""
        if samples.task is None:
            return False
        if self._end_task != "task":
            raise BadInput(f"A sample names a task, and learn.end_task is '{self._end_task}'.", "Leave it out.")
        name = repr(samples.task)
        return self._task is not None and name != self._task

    def observe(self, samples: Samples) -> list[int]:
        """Ids of samples, taken. Raises what `Learner.observe` raises."""
        if samples.labels is None:
            raise BadInput("The samples came without labels.", "Give labels; POST /v1/predict?keep=1 keeps others.")
        ticket = self.learner.observe(samples.x, samples.labels, task=samples.task, subject=samples.subject)
        if samples.task is not None:
            self._task = repr(samples.task)
        with self._count:
            self.fresh += len(samples.x)
            self.taken += len(samples.x)
            self.unsaved = True
        return [int(i) for i in ticket.ids]

    def store_only(self, x: np.ndarray, subject: int | None) -> list[int]:
        """Ids of samples that the store keeps and nothing trains on."""
        ticket = self.learner.observe(x, None, subject=subject)
        self.unsaved = True
        return [int(i) for i in ticket.ids]

    def relabel(self, ids: list[int], labels: Any) -> None:
        self.unsaved = True
        self.learner.relabel(ids, labels)

    @property
    def durable(self) -> bool:
        """Whether there is a store that makes samples durable."""
        return self.learner.plan.config.store is not None

    def flush(self) -> None:
        self.learner.flush()

    # -- the work thread

    def learn(self, **asked: Any) -> dict[str, Any]:
        """One call of `Learner.learn`, as plain values."""
        with self._count:
            self.fresh = 0
        self.learning = True
        try:
            log = self.learner.learn(progress=self._clock(), **asked)
        finally:
            self.learning = False
            self.unsaved = True
        return asdict(log)

    def _clock(self) -> Callable[[object], None] | None:
        """A listener that tells `on_step` how long each step took."""
        told = self.on_step
        if told is None:
            return None
        before = time.perf_counter()

        def stepped(_: object) -> None:
            nonlocal before
            now = time.perf_counter()
            told(now - before)
            before = now

        return stepped

    def stand(self, on: bool) -> None:
        """Serve by the weights as they are now, whatever is learned, until told otherwise."""
        self._standing = (self.learner.standing(), self.learner.labels) if on and self.steps else None

    def stop(self) -> None:
        self.learner.stop()

    def end_task(self) -> dict[str, Any]:
        if self._end_task == "never":
            raise BadInput("learn.end_task is 'never'.", "Say 'command' or 'task'.")
        self.unsaved, self._task = True, None
        return {"stopped": self.learner.end_task()}

    def finish(self) -> dict[str, Any]:
        self.unsaved = True
        return {"stopped": self.learner.finish()}

    def save(self) -> Path:
        """A saved state; samples taken meanwhile count as unsaved."""
        self.unsaved = False
        try:
            return self.learner.save()
        except BaseException:
            self.unsaved = True
            raise

    def forget(self, subject: int) -> dict[str, Any]:
        return plain(self.learner.forget(subject))

    def retrain_without(self, subject: int) -> dict[str, Any]:
        return plain(self.learner.retrain_without(subject))

    def network(self) -> Network:
        """Graph and weights as they are now."""
        return self.learner.model.network()

    def close(self) -> None:
        self.learner.close()


def plain(value: Any) -> Any:
    """What a verb returned, as JSON holds it."""
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        return plain(to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
