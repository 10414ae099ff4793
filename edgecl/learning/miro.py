"""Miro at work: at the start of a task the sizes of memory and stream buffer are chosen by short trial trainings.

A reduced sample of the task and of the stored classes trains a shared warm-up; from there each candidate trains on
with its memory and buffer at the same reduction, and is scored on samples held out of that (never on test data).
Engine and method are then put back as they were. All draws come from one generator: a run repeats its choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..budget.miro import HELD_OUT, LEAST, REDUCTION, Resources, Score, Setting, candidates, choose
from ..budget.planner import RunPlan
from ..data import SampleSource
from ..data.source import ArraySource
from ..storage import EpisodicMemory, MemoryPolicy, SampleStore
from .ledger import DenseRows, Ledger
from .randomness import Randomness
from .task_data import SourceData
from .task_loop import TaskLoop, planned_steps
from .trainer import Parts, Trainer

Array = np.ndarray
WARM_UP, TRIAL = 2, 1  # epochs


class Miro:
    """Chooses the sizes of each task from task ``first`` (0-based) on, of what the plan has room for."""

    def __init__(self, trainer: Trainer, plan: RunPlan, first: int) -> None:
        from .parts import configured_sparsity  # parts build trainers: not at import time

        self.trainer, self.plan, self.first = trainer, plan, first
        parts = trainer.parts
        assert parts.memory is not None and parts.store is not None
        self.memory, self.store = parts.memory, parts.store
        self.resources = Resources(parts.memory.slots)
        self.scores: list[Score] = []
        self.rows: Array | None = None  # positions of the present task that are trained on, or None for all
        self.trial_steps = 0
        self._config = parts.config.replace(remove=0.0, sparsity=0.0, mask="none", gradient_keep=1.0)
        self._plain = configured_sparsity(self._config, parts.engine.model.graph)

    def begin_task(self, task: int, train: SampleSource, units: Array | None, frugal: bool = False) -> None:
        """Choose and apply the sizes for a task whose samples are ``train``, already in the store."""
        self.rows = None
        self.resources = Resources(self.resources.memory, frugal)
        old = sorted(self.memory.class_histogram())
        if task < self.first or not old:
            return
        stored = sum(self.store.count_of(c) for c in old)
        found = candidates(self.plan.config.memory, len(train), stored, len(set(old) | set(train.labels.tolist())))
        self.scores = self._profile(task, found, train, units, old)
        chosen = choose(self.scores, self.resources)
        self._log("miro", chosen)
        self._resize(chosen.setting.memory, old)
        if chosen.setting.buffer < len(train):
            self.rows = _balanced(train.labels, chosen.setting.buffer, self._rng)

    def changed(self, resources: Resources) -> None:
        """Other resources within a task: the memory is cut at once, the buffer with the next task."""
        self.resources = resources
        if not self.scores:
            return
        chosen = choose(self.scores, resources)
        slots = min(chosen.setting.memory, resources.memory)
        if slots < self.memory.slots:
            self._log("miro, resources changed", chosen)
            self._resize(max(slots, 1), sorted(self.memory.class_histogram()))

    @property
    def _rng(self) -> np.random.Generator:
        return self.trainer.parts.random["miro"]

    def _log(self, what: str, chosen: Score) -> None:
        s = chosen.setting
        text = f"{what}: memory {s.memory}, buffer {s.buffer} (held-out {chosen.accuracy:.3f} of {len(self.scores)})"
        self.trainer.log.append((self.trainer.steps, -1, text))

    # -- trials

    def _profile(
        self, task: int, found: list[Setting], train: SampleSource, units: Array | None, old: list[int]
    ) -> list[Score]:
        parts, config = self.trainer.parts, self._config
        engine, rng = parts.engine, self._rng
        before, method = engine.state(), parts.method.state()
        rows = {int(c): rng.permutation(np.flatnonzero(train.labels == c)) for c in np.unique(train.labels)}
        ids = {c: rng.permutation(self.store.ids_of_class(c)) for c in old if c not in rows}
        held_x, held_y = self._held_out(train, rows, ids)
        most = max(s.memory for s in found)
        try:
            self._train(task, train, rows, ids, Setting(most, len(train)), units, WARM_UP)
            warm = engine.state()
            scores = []
            for setting in found:
                engine.load(warm)
                self._train(task, train, rows, ids, setting, units, TRIAL)
                accuracy = self._accuracy(held_x, held_y)
                steps = planned_steps(parts.config, setting.buffer, config.epochs)
                joules = steps * (self.plan.step_joules or float(self.plan.step_flops))
                scores.append(Score(setting, accuracy, joules))
            return scores
        finally:
            engine.load(before)
            parts.method.load(method)

    def _held_out(self, train: SampleSource, rows: dict[int, Array], ids: dict[int, Array]) -> tuple[Array, Array]:
        """Samples and labels that no trial trains on; they are taken off the front of ``rows`` and ``ids``."""
        x, y = [], []
        for pool, read in ((rows, train.read), (ids, self._stored)):
            for c, own in pool.items():
                n = min(HELD_OUT, len(own) // 2)
                x.append(read(own[:n]))
                y.append(np.full(len(x[-1]), c))
                pool[c] = own[n:]
        return np.concatenate(x), np.concatenate(y)

    def _stored(self, ids: Array) -> Array:
        found = self.store.read(ids, fields=())
        return found["samples"][found["ok"]]

    def _train(
        self,
        task: int,
        train: SampleSource,
        rows: dict[int, Array],
        ids: dict[int, Array],
        setting: Setting,
        units: Array | None,
        epochs: int,
    ) -> None:
        """A trial: the reduced buffer for ``epochs``, with a reduced memory of the stored classes."""
        parts, config = self.trainer.parts, self._config.replace(epochs=epochs)
        each = max(LEAST, round(REDUCTION * setting.buffer / len(rows)))
        chosen = np.sort(np.concatenate([own[:each] for own in rows.values()]))
        each = max(LEAST, round(REDUCTION * setting.memory / max(len(ids), 1)))
        memory = EpisodicMemory(max(each * len(ids), 1), self.memory.schema)
        for own in ids.values():
            _fill(memory, self.store, own[:each])
        ledger = Ledger(parts.engine.model.graph, 1.0, parts.method.needs.draws, config.replay_rows)
        trial = Trainer(
            Parts(
                config=config,
                engine=parts.engine,
                method=parts.method,
                sparse=self._plain,
                random=Randomness(int(self._rng.integers(2**31))),
                ledger=ledger,
                augment=parts.augment,
                memory=memory,
                policy=MemoryPolicy(),
            )
        )
        trial.seen = self.trainer.seen.copy()
        data = SourceData([ArraySource(train.read(chosen), train.labels[chosen])])
        loop = TaskLoop(trial, data, DenseRows(memory.slots, False), task=task, epochs=epochs, task_units=units)
        while not loop.finished:
            loop.advance()
        self.trial_steps += trial.steps

    def _accuracy(self, x: Array, y: Array) -> float:
        """Mean over classes of the Class-IL accuracy over the units seen."""
        engine, seen = self.trainer.parts.engine, self.trainer.seen
        batch = engine.plan.predict_batch
        logits = engine.predictor(batch)(x)
        right = np.where(seen, logits, -np.inf).argmax(axis=1) == y
        return float(np.mean([right[y == c].mean() for c in np.unique(y)]))

    # -- sizes

    def _resize(self, slots: int, classes: list[int]) -> None:
        """A class-balanced memory of ``slots``: what is there stays where it fits, the store fills the rest."""
        memory, rng = self.memory, self._rng
        quota = max(1, slots // len(classes))
        for c in classes:
            own = np.flatnonzero(memory.classes == c)
            if len(own) > quota:
                memory.clear(rng.choice(own, len(own) - quota, replace=False))
        if slots != memory.slots:
            memory.resize(slots, rng)
        for c in classes:
            known = self.store.ids_of_class(c)
            known = known[~np.isin(known, memory.ids)]
            room = min(quota - int((memory.classes == c).sum()), len(known))
            if room > 0:
                _fill(memory, self.store, np.sort(rng.choice(known, room, replace=False)))

    # -- saved state

    def state(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "resources": [self.resources.memory, self.resources.frugal],
            "scores": [[s.setting.memory, s.setting.buffer, s.accuracy, s.joules] for s in self.scores],
            "trial_steps": self.trial_steps,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; the memory's own state has its size."""
        self.rows = state["rows"]
        self.resources = Resources(int(state["resources"][0]), bool(state["resources"][1]))
        self.scores = [Score(Setting(int(m), int(b)), float(a), float(j)) for m, b, a, j in state["scores"]]
        self.trial_steps = int(state["trial_steps"])


def make_miro(trainer: Trainer, plan: RunPlan) -> Miro | None:
    """As configured, or None."""
    first, parts = plan.config.miro, trainer.parts
    return None if first is None or parts.memory is None or parts.store is None else Miro(trainer, plan, first - 1)


def _fill(memory: EpisodicMemory, store: SampleStore, ids: Array) -> None:
    """Records into the first empty slots."""
    found = store.read(ids)
    ok = found["ok"]
    free = np.flatnonzero(memory.classes < 0)[: int(ok.sum())]
    fields = {n: (v[ok][: len(free)], w[ok][: len(free)]) for n, (v, w) in found["fields"].items()}
    take = np.flatnonzero(ok)[: len(free)]
    memory.put_many(
        free, found["samples"][take], found["classes"][take], found["ids"][take], fields, found["subjects"][take]
    )


def _balanced(labels: Array, count: int, rng: np.random.Generator) -> Array:
    """Ascending positions of ``count`` samples, each class in its share."""
    kept = []
    for c in np.unique(labels):
        own = np.flatnonzero(labels == c)
        kept.append(rng.choice(own, max(1, round(count * len(own) / len(labels))), replace=False))
    return np.sort(np.concatenate(kept))
