"""`--lr auto`: a learning rate found by short trial trainings on the first task, scored on samples held out of them."""

from __future__ import annotations

import numpy as np

from ..methods import NonFiniteLoss
from ..methods.context import TaskInfo
from ..methods.losses import log_softmax
from ..planning.configured import configured_sparsity
from ..planning.memory import HELD_OUT_RATE
from ..planning.schedules import RATES, rate_steps
from ..storage import EpisodicMemory, MemoryPolicy
from .ledger import DenseRows
from .randomness import Randomness
from .task_data import SubsetData, TaskData
from .task_loop import TaskLoop
from .trainer import Trainer
from .wiring import Parts

Array = np.ndarray
SHARE = 0.1  # of the first task that scores a trial


def find_rate(trainer: Trainer, task: TaskInfo, data: TaskData) -> None:
    """Choose the learning rate where the configuration leaves it open: once, before the first step.

    Each of `RATES` trains from the same weights, with the same draws and the run's own batch, method and epochs'
    schedule, for a fiftieth of the first task's steps, 60 at most; the one with the lowest cross-entropy of what
    is held out is taken. Weights and method are then as before. The steps count in FLOPs, energy and the plan.
    """
    parts = trainer.parts
    if parts.config.lr != "auto":
        return
    if not trains(trainer) or len(data.labels) < 2:
        trainer.use_rate(RATES[len(RATES) // 2], 0)
        return
    engine, rng = parts.engine, parts.random["rate"]
    order, held = rng.permutation(len(data.labels)), min(HELD_OUT_RATE, max(1, int(SHARE * len(data.labels))))
    held_out, rest = np.sort(order[:held]), order[held:]
    seed, steps = int(rng.integers(2**31)), rate_steps(parts.config, len(rest))
    rows = np.sort(rest[: steps * parts.config.batch])
    x, y = data.read(held_out), data.labels[held_out]
    before, method, losses, done = engine.state(), parts.method.state(), [], 0
    try:
        for rate in RATES:
            engine.load(before)
            parts.method.load(method)
            trial = _trial(trainer, rate, seed)
            try:
                done += _train(trial, task, SubsetData(data, rows), steps)
                losses.append(_loss(trial, task, x, y))
            except NonFiniteLoss:
                losses.append(np.inf)
    finally:
        engine.load(before)
        parts.method.load(method)
    chosen = RATES[int(np.argmin(losses))]
    trainer.use_rate(chosen, done)
    text = ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in zip(RATES, losses))
    trainer.log.append((trainer.steps, -1, f"lr {chosen:g} (held-out loss by rate {text})"))


def trains(trainer: Trainer) -> bool:
    """Whether a learning rate has any effect."""
    return trainer.parts.engine.plan.extras.trains != "none"


def _trial(trainer: Trainer, rate: float, seed: int) -> Trainer:
    """A trainer of the same engine and method, with draws of its own, no store and an empty memory."""
    p = trainer.parts
    config = p.config.replace(
        lr=rate, remove=0.0, sparsity=0.0, sparsity_policy="none", gradient_keep=1.0, store=None, miro=None, gate="none"
    )
    memory = None if p.memory is None else EpisodicMemory(1, p.memory.schema)
    trial = Trainer(
        Parts(
            config=config,
            engine=p.engine,
            method=p.method,
            sparse=configured_sparsity(config, p.engine.model.graph),
            random=Randomness(seed),
            ledger=p.ledger,
            augment=p.augment,
            memory=memory,
            policy=None if memory is None else MemoryPolicy(),
        )
    )
    trial.body, trial.seen = trainer.body, trainer.seen.copy()
    return trial


def _train(trial: Trainer, task: TaskInfo, data: TaskData, steps: int) -> int:
    """So many steps; how many they were."""
    epochs = -(-steps // -(-len(data.labels) // trial.parts.config.batch))
    loop = TaskLoop(trial, trial.context("method", task, data), DenseRows(1, False), epochs=epochs)
    while not loop.finished and trial.steps < steps:
        loop.advance()
    return trial.steps


def _loss(trial: Trainer, task: TaskInfo, x: Array, y: Array) -> float:
    """Mean cross-entropy over the units seen; its forwards are counted."""
    logits = trial.context("method", task).evaluate(x)["logits"]
    found = log_softmax(np.where(trial.seen, logits, -np.inf))[np.arange(len(y)), y]
    return float(-found.mean())
