"""The bits of a learner's network and memory, and whether two have the same."""

import numpy as np


def bits(learner):
    """{part/name: array}, copies."""
    trainer = learner.core.state()["trainer"]
    found = {f"engine/{k}": v.copy() for k, v in trainer["engine"].items()}
    return found | {f"memory/{k}": v.copy() for k, v in trainer["memory"].items()}


def same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def same_parts(ours, theirs):
    """Of two trainers' states."""
    for part in ("engine", "memory"):
        same(ours[part], theirs[part])


def taught_task_by_task(learner, stream, epochs):
    """The learner's trainer, as saved, after it was given every task of a stream."""
    for task in stream.tasks:
        learner.observe(task.train.read(np.arange(len(task.train))), task.train.labels.tolist())
        learner.learn(epochs=epochs)
        learner.end_task()
    return learner.core.state()["trainer"]
