"""Miro at work: at the start of a task the sizes of memory and stream buffer are chosen by short trial trainings.

A reduced sample of the task and of the stored classes trains a shared warm-up; from there each candidate trains on
with its memory and buffer at the same reduction, and is scored on samples held out of that (never on test data).
All candidates train with the same draws, so that they differ in size only. Engine and method are then put back as they
were. All draws come from one generator: a run repeats its choices.

Trials cost joules too. What they found holds, as shares of later tasks, for as many tasks as there were until then: a
stream of T tasks is profiled log2(T) times, and the profiles are averaged. Less RAM has the next task profiled anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..budget.miro import HELD_OUT, Resources, Score, Setting, averaged, candidates, choose, reduction
from ..budget.planner import RunPlan
from ..data import SampleSource
from ..data.source import ArraySource
from ..methods.context import TaskInfo
from ..planning.configured import configured_sparsity
from ..planning.schedules import planned_steps
from ..storage import EpisodicMemory, MemoryPolicy, SampleStore
from ..storage.sets import distinct
from .ledger import DenseRows, Ledger
from .randomness import Randomness
from .session import Session
from .task_data import SourceData
from .task_loop import TaskLoop
from .trainer import Trainer
from .wiring import Parts

Array = np.ndarray
WARM_UP, TRIAL = 2, 2  # epochs


class Miro:
    """Chooses the sizes of each task from task ``first`` (0-based) on, of what the plan has room for."""

    def __init__(self, trainer: Trainer, plan: RunPlan, first: int) -> None:
        self.trainer, self.plan, self.first = trainer, plan, first
        parts = trainer.parts
        assert parts.memory is not None and parts.store is not None
        self.resources = Resources(parts.memory.slots)
        self.scores: list[Score] = []
        self.scored_task = 1  # samples of the task that the scores are of
        self.profiles = 0  # that the scores are averaged over
        self.due = first  # the task that is profiled next
        self.rows: Array | None = None  # positions of the present task that are trained on, or None for all
        self.trial_steps = 0
        self._config = parts.config.replace(remove=0.0, sparsity=0.0, sparsity_policy="none", gradient_keep=1.0)
        self._plain = configured_sparsity(self._config, parts.engine.model.graph)

    @property
    def memory(self) -> EpisodicMemory:
        assert self.trainer.parts.memory is not None
        return self.trainer.parts.memory

    @property
    def store(self) -> SampleStore:
        assert self.trainer.parts.store is not None
        return self.trainer.parts.store

    def begin_task(self, task: int, train: SampleSource, units: Array | None, frugal: bool = False) -> None:
        """Choose and apply the sizes for a task whose samples are ``train``, already in the store."""
        self.rows = None
        self.resources = Resources(self.resources.memory, frugal)
        old = sorted(self.memory.class_histogram())
        if task < self.first or not old:
            return
        if task >= self.due:
            stored = sum(self.store.count_of(c) for c in old)
            classes = len(set(old) | set(train.labels.tolist()))
            found = candidates(self.resources.memory, len(train), stored, classes)
            self.scores = averaged(self.scores, self.profiles, self._profile(task, found, train, units, old))
            self.profiles += 1
            self.scored_task, self.due = len(train), 2 * task + 1
        chosen = choose(self.scores, self.resources)
        buffer = max(1, round(len(train) * chosen.setting.buffer / self.scored_task))
        text = f"miro: memory {self.resources.memory}, buffer {buffer} (held-out {chosen.accuracy:.3f}"
        self.trainer.log.append((self.trainer.steps, -1, f"{text} of {len(self.scores)})"))
        self._resize(self.resources.memory, old)
        if buffer < len(train):
            self.rows = _balanced(train.labels, buffer, self._rng)

    def begin_watched(self, session: Session, task: int, train: SampleSource, units: Array | None) -> None:
        """`begin_task` with its trials in the session's energy account; frugal while its governor slows down."""
        governor, energy = session.governor, session.energy
        energy.begin()
        self.begin_task(task, train, units, governor is not None and governor.level > 0)
        energy.end()
        energy.other_steps = self.trial_steps

    def changed(self, resources: Resources) -> None:
        """Other resources within a task: the memory is cut at once; the next task is profiled anew."""
        self.resources = resources
        self.due = self.profiles = 0
        if self.scores and resources.memory < self.memory.slots:
            self.trainer.log.append((self.trainer.steps, -1, f"miro, less RAM: memory {max(resources.memory, 1)}"))
            self._resize(max(resources.memory, 1), sorted(self.memory.class_histogram()))

    def shed(self) -> None:
        """RAM ran short: half the memory."""
        self.changed(Resources(max(self.memory.slots // 2, 1), self.resources.frugal))

    @property
    def _rng(self) -> np.random.Generator:
        return self.trainer.parts.random["miro"]

    # -- trials

    def _profile(
        self, task: int, found: list[Setting], train: SampleSource, units: Array | None, old: list[int]
    ) -> list[Score]:
        parts, config = self.trainer.parts, self._config
        engine, rng = parts.engine, self._rng
        before, method = engine.state(), parts.method.state()
        rows = {int(c): rng.permutation(np.flatnonzero(train.labels == c)) for c in distinct(train.labels)}
        ids = {c: rng.permutation(self.store.ids_of_class(c)) for c in old if c not in rows}
        held_x, held_y = self._held_out(train, rows, ids)
        seed, scale = int(rng.integers(2**31)), reduction(found, len(rows))
        most = Setting(max(s.memory for s in found), len(train))
        try:
            self._train(task, train, rows, ids, most, scale, units, WARM_UP, seed)
            warm = engine.state()
            scores = []
            for setting in found:
                engine.load(warm)
                self._train(task, train, rows, ids, setting, scale, units, TRIAL, seed)
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
        x, y, each = [], [], max(1, HELD_OUT // (len(rows) + len(ids)))
        for pool, read in ((rows, train.read), (ids, self._stored)):
            for c, own in pool.items():
                n = min(each, len(own) // 2)
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
        scale: float,
        units: Array | None,
        epochs: int,
        seed: int,
    ) -> None:
        """A trial: the reduced buffer for ``epochs``, with a reduced memory of the stored classes."""
        parts, config = self.trainer.parts, self._config.replace(epochs=epochs)
        each = max(1, round(scale * setting.buffer / len(rows)))
        chosen = np.sort(np.concatenate([own[:each] for own in rows.values()]))
        each = max(1, round(scale * setting.memory / max(len(ids), 1)))
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
                random=Randomness(seed),
                ledger=ledger,
                augment=parts.augment,
                memory=memory,
                policy=MemoryPolicy(),
            )
        )
        trial.seen = self.trainer.seen.copy()
        data = SourceData([ArraySource(train.read(chosen), train.labels[chosen])])
        context = trial.context("method", TaskInfo(task, task == 0, units), data)
        loop = TaskLoop(trial, context, DenseRows(memory.slots, False), epochs=epochs)
        while not loop.finished:
            loop.advance()
        self.trial_steps += trial.steps

    def _accuracy(self, x: Array, y: Array) -> float:
        """Mean over classes of the Class-IL accuracy over the units seen. Counted as steps: a forward is a third."""
        parts, seen = self.trainer.parts, self.trainer.seen
        engine, config = parts.engine, parts.config
        rows = config.batch + parts.method.needs.draws * config.replay_rows
        self.trial_steps += -(-len(x) // (3 * rows))
        batch = engine.plan.predict_batch
        logits = engine.predictor(batch)(x)["logits"]
        right = np.where(seen, logits, -np.inf).argmax(axis=1) == y
        return float(np.mean([right[y == c].mean() for c in distinct(y)]))

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
            "due": [self.due, self.scored_task, self.profiles],
            "scores": [[s.setting.memory, s.setting.buffer, s.accuracy, s.joules] for s in self.scores],
            "trial_steps": self.trial_steps,
        }

    def resume(self, state: Mapping[str, Any] | None, session: Session) -> None:
        """Continue from `state`; None is that of a run without."""
        if state is not None:
            self.load(state)
            session.energy.other_steps = self.trial_steps

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; the memory's own state has its size."""
        self.rows = state["rows"]
        self.resources = Resources(int(state["resources"][0]), bool(state["resources"][1]))
        self.due, self.scored_task, self.profiles = (int(n) for n in state["due"])
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
    for c in distinct(labels):
        own = np.flatnonzero(labels == c)
        kept.append(rng.choice(own, max(1, round(count * len(own) / len(labels))), replace=False))
    return np.sort(np.concatenate(kept))
