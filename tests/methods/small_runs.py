"""Short runs of every method over the tiny stream, by `run` and by a `Learner`."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecl import Learner
from edgecl.data import load_stream
from edgecl.methods import methods

OURS = tuple(sorted(methods()))
# Options that make the long ones short; the parts that would not be reached otherwise are switched on.
SHORT: dict[str, dict[str, Any]] = {
    "gdumb": {"memory_epochs": 3},
    "k-fpf": {"steps": 6},
    "rainbow": {"memory_epochs": 2},
    "lwf": {"warm_up": 1},
    "ridge": {"random_features": 40},
}
BASE: dict[str, Any] = {"network": "mlp", "epochs": 2, "batch": 16, "memory": 24, "lr": 0.05, "seed": 3}


def options(method: str, **more: Any) -> dict[str, Any]:
    """Options of a run of a moment; ``epochs`` and so on as given, whatever the method would choose."""
    return {**BASE, "method": method, **SHORT.get(method, {}), **more}


def learned(stream: str, given: dict[str, Any], **more: Any) -> Learner:
    """A learner that was given the stream's tasks one after another."""
    data = load_stream(stream)
    given = dict(given)
    epochs = given.pop("epochs")
    learner = Learner(
        given.pop("network"),
        input_shape=data.input_shape,
        mean=data.mean,
        std=data.std,
        classes=data.class_count,
        buffer=500,
        **given,
        **more,
    )
    for task in data.tasks:
        x = task.train.read(np.arange(len(task.train)))
        learner.observe(x, [data.labels[u] for u in task.train.labels])
        learner.learn(epochs=epochs)
        learner.end_task()
    learner.finish()
    return learner


def same(a: Any, b: Any, place: str = "state") -> None:
    """Asserts two nested states equal bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            same(a[key], b[key], f"{place}/{key}")
    elif isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, err_msg=place)
    else:
        assert a == b, place
