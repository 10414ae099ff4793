"""`run` and `Learner`, given the same stream, seed and options, end with the same bits: weights, optimizer state,
patterns and memory, after every task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import stories

import edgecl
from edgecl import checkpoint
from edgecl.data import load_stream
from edgecl.run import run

CLASSES, EACH = 6, 24
COMMON = {"epochs": 10, "batch": 8, "memory": 16, "lr": 0.05, "seed": 11}
SPARSE = {"sparsity": 0.7, "gradient_keep": 0.8}
ROWS = {
    "er": {"method": "er"},
    "der++": {"method": "der++"},
    "der++, two draws": {"method": "der++", "replay_forward": "separate"},
    "masked loss": {"method": "er", "current_loss": "masked"},
    "TDM as released": {"method": "er", **SPARSE, "sparcl": "released"},
    "TDM as in the paper": {"method": "er", **SPARSE, "sparcl": "paper"},
    "SparCL whole": {"method": "der++", **SPARSE, "remove": 0.3, "lr_schedule": "cosine", "memory_policy": "balanced"},
    "Adam, ring": {"method": "er", "optimizer": "adam", "lr": 0.002, "memory_policy": "ring"},
}


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bits") / "six.npz"
    y = np.repeat(np.arange(CLASSES), EACH)
    np.savez(path, x=np.concatenate([stories.samples(u, EACH)[:, 0] for u in range(CLASSES)]), y=y)
    return path


def trained(state: dict) -> dict[str, np.ndarray]:
    """Arrays that a step depends on, by name."""
    trainer = state["trainer"]
    found = {f"engine/{k}": v for k, v in trainer["engine"].items()}
    return found | {f"memory/{k}": v for k, v in trainer["memory"].items()}


@pytest.mark.parametrize("stored", [False, True], ids=["in RAM", "with a store"])
@pytest.mark.parametrize("row", ROWS)
def test_run_and_learner_give_the_same_bits(row, stored, stream, tmp_path):
    options = {**COMMON, **ROWS[row], "model": "mlp"}
    loaded = load_stream(str(stream))
    tasks = len(loaded.tasks)
    assert tasks == 3
    store = {"store": str(tmp_path / "own")} if stored else {}
    more = {k: v for k, v in options.items() if k != "epochs"}
    learner = edgecl.Learner(
        input_shape=loaded.input_shape, mean=loaded.mean, std=loaded.std, classes=loaded.class_count, **store, **more
    )
    with learner:
        for task in range(tasks):
            now = loaded.tasks[task].train
            learner.observe(now.read(np.arange(len(now))), now.labels.tolist())
            learner.learn(epochs=options["epochs"])
            learner.end_task()
            ours = trained(checkpoint.read(newest(learner.save(tmp_path / "saved"))))
            store = {"store": str(tmp_path / f"run{task}")} if stored else {}
            out = tmp_path / f"out{task}"
            run({**options, **store, "stream": str(stream), "limit_tasks": task + 1, "out": str(out)})
            theirs = trained(checkpoint.read(newest(out)))
            assert ours.keys() == theirs.keys()
            for name, values in ours.items():
                np.testing.assert_array_equal(values, theirs[name], err_msg=f"task {task}: {name}")


def newest(folder: Path) -> Path:
    return max(checkpoint.generations(folder), key=lambda path: path.stat().st_mtime_ns)
