"""The lives that are pinned: what a learner and a run did before they were saved. `make.py` wrote them once, with the
version before the training core was rebuilt; the tests go on from there."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
from edgecl.storage import KeyFile

import edgecl
from edgecl.run import run

LABELS = ("ant", "bee", "cat", "dog", "eel", "fox")
OPTIONS = {
    "method": "der++",
    "sparsity": 0.5,
    "gradient_keep": 0.8,
    "memory": 18,
    "batch": 8,
    "lr": 0.05,
    "seed": 3,
}


def samples(unit: int, count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, 1, 8, 8] of one class."""
    rng = np.random.default_rng([seed, unit])
    pattern = np.random.default_rng([99, unit]).integers(40, 210, (1, 8, 8))
    return np.clip(pattern + rng.normal(0, 20, (count, 1, 8, 8)), 0, 255).astype(np.uint8)


def signals(unit: int, count: int, seed: int = 0) -> np.ndarray:
    """float32 [count, 3, 1, 32] of one class."""
    rng = np.random.default_rng([seed, unit])
    t = np.arange(32) / 32
    wave = np.stack([np.sin(2 * np.pi * (unit + 1) * t + phase) for phase in range(3)])[:, None]
    return (wave + rng.normal(0, 0.3, (count, 3, 1, 32))).astype(np.float32)


def with_store(folder: Path, key: KeyFile | None) -> None:
    """Three tasks, the third one cut in its middle by `save`; subjects, a state kept at each task's end."""
    learner = edgecl.Learner(
        "mlp",
        input_shape=(1, 8, 8),
        classes=4,
        buffer=30,
        store=str(folder / "store"),
        path=folder / "saved",
        root_key=key,
        keep_checkpoints=2,
        **OPTIONS,
    )
    for task in range(3):
        for unit in (2 * task, 2 * task + 1):
            learner.observe(samples(unit, 20), LABELS[unit], task=task, subject=unit)
        if task < 2:
            learner.learn(epochs=3)
        else:
            learner.learn(steps=5)
    learner.save()
    learner.close()


def in_ram(folder: Path) -> None:
    """One task without a store, by Adam, on signals."""
    learner = edgecl.Learner(
        "cnn1d", input_shape=(3, 1, 32), dtype="float32", classes=2, method="er", memory=10, batch=4, lr=0.005,
        optimizer="adam", seed=1, path=folder / "saved",
    )  # fmt: skip
    for unit in range(3):
        learner.observe(signals(unit, 8), unit)
    learner.learn(epochs=2)
    learner.save()
    learner.close()


def make_stream(path: Path) -> None:
    y = np.repeat(np.arange(4), 30)
    np.savez(path, x=np.concatenate([samples(unit, 30)[:, 0] for unit in range(4)]), y=y)


def run_options(folder: Path, **more: object) -> dict[str, object]:
    return {
        "stream": str(folder / "stream.npz"),
        "model": "mlp",
        "method": "der++",
        "epochs": 4,
        "batch": 8,
        "memory": 12,
        "lr": 0.05,
        "sparsity": 0.5,
        "gradient_keep": 0.8,
        "remove": 0.2,
        "store": str(folder / "store"),
        "out": str(folder / "out"),
        "seed": 5,
        **more,
    }


def cut_run(folder: Path, at: int, **more: object) -> None:
    """A run that was asked to stop after step ``at``."""
    stop = Event()

    def listen(progress: object) -> None:
        if progress.step >= at:  # type: ignore[attr-defined]
            stop.set()

    run(run_options(folder, **more), listen=listen, stop=stop)
