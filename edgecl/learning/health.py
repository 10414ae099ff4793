"""Health: whether a run learns at all. Most failures of continual learning are silent; these figures say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.base import Engine
from ..methods import StepResult
from ..storage import EpisodicMemory

Array = np.ndarray
EVERY = 50  # steps from one look at the gradient to the next
RECENT = 0.98  # what a step leaves of the running means


class Health:
    """What the steps of a run did, in a few numbers.

    steps, replayed : of tasks' own epochs, and those of them that replayed something
    terms : running mean of the loss by term;  gradient : norm of the step's gradient at the latest look, or None
    """

    def __init__(self) -> None:
        self.steps = self.replayed = 0
        self.terms: dict[str, float] = {}
        self.gradient: float | None = None

    def look(self, engine: Engine, step: int) -> None:
        """Before a step: its gradient, now and then."""
        if step % EVERY == 0:
            self.gradient = engine.gradients.norm()

    def count(self, result: StepResult) -> None:
        """After a step."""
        self.steps += 1
        self.replayed += any(len(rows) for rows in result.logits_replay)
        for name, value in result.terms.items():
            before = self.terms.get(name, value)
            self.terms[name] = RECENT * before + (1 - RECENT) * value

    def state(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "replayed": self.replayed,
            "terms": dict(self.terms),
            "gradient": self.gradient,
        }

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Continue from `state`; None is a state saved before there was any."""
        if state is not None:
            self.steps, self.replayed = int(state["steps"]), int(state["replayed"])
            self.terms = {str(k): float(v) for k, v in state["terms"].items()}
            self.gradient = None if state["gradient"] is None else float(state["gradient"])


def health_facts(
    health: Health,
    memory: EpisodicMemory | None,
    tested: tuple[Array, Array, Array],
    row: Sequence[float | None],
    tasks: Sequence[Sequence[int]],
    kept: tuple[str, ...],
) -> dict[str, Any]:
    """The record's ``health``.

    tested : per head unit how many test samples it had, how many of them were right, how often it was predicted
    row : Class-IL accuracy by task at the last evaluation;  tasks : classes of each
    kept : scenarios the method promises to keep old classes in
    """
    samples, right, predicted = tested
    units = np.flatnonzero(samples)
    recall = {int(u): float(right[u] / samples[u]) for u in units}
    never = [int(u) for u in units if not predicted[u]]
    done = [i for i, a in enumerate(row) if a is not None]
    old = done[:-1]
    seen = len({c for i in done for c in tasks[i]})
    accuracy = float(np.mean([row[i] for i in old])) if old else None
    found: dict[str, Any] = {
        "replay_share": health.replayed / health.steps if health.steps else None,
        "classes_in_memory": None if memory is None else len(memory.class_histogram()),
        "loss": dict(health.terms),
        "gradient_norm": health.gradient,
        "never_predicted": never,
        "old_task_accuracy": accuracy,
        "chance": 1 / seen if seen else None,
        "recall": recall,
        "balanced_accuracy": float(np.mean(list(recall.values()))) if recall else None,
    }
    found["off"] = _what_is_off(found, memory is not None, "class-il" in kept)
    return found


def _what_is_off(found: Mapping[str, Any], keeps: bool, promises: bool) -> list[str]:
    """A line for each sign that a method does not do what it is for."""
    lines = []
    accuracy, chance = found["old_task_accuracy"], found["chance"]
    if promises and accuracy is not None and chance is not None and accuracy <= chance:
        lines.append(
            f"old tasks are at chance ({accuracy:.3f} of {chance:.3f}): the method keeps nothing of them here; "
            "try a lower --lr, more --memory, or slda"
        )
    if promises and keeps and found["replay_share"] == 0:
        lines.append("no step replayed anything: a memory is kept and not used in steps")
    if found["never_predicted"] and promises:
        lines.append(f"units {found['never_predicted']} are never predicted, though tested")
    return lines
