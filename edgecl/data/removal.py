"""Dynamic data removal (DDR, SparCL): samples a task has learned are not visited again during it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..errors import BadInput, unknown_name

NEVER_CORRECT = 50  # the released code's score of a sample never predicted correctly: it is kept
CRITERIA = ("forgetting", "errors")
TIE_BREAKS = ("order", "loss", "random")


class DataRemoval:
    """Which of a task's ``n`` samples are still visited.

    total : proportion removed over all stages, in [0, 1); every stage removes int(total * n / stages)
    criterion : 'forgetting' (released code) scores correct -> wrong transitions, a sample never correct
        50; 'errors' (paper) scores wrong predictions, a sample never visited 50
    tie_break : among equal scores remove first by 'order' (index; released code), 'loss' (lowest mean
        loss) or 'random'. Most scores are 0, so ties decide: 'order' on a task stored class after class
        empties its first class; 'loss' is the better choice.
    labels : int [n]; when given, every class loses the same share (within one sample)
    carry_over : keep the statistics across stages instead of forgetting them (released code forgets).
        With one visit between stages a transition can only be seen across a stage.

    Lowest score goes first; a removed sample never comes back. The next task starts with a new object.
    """

    def __init__(
        self,
        n: int,
        total: float = 0.3,
        stages: int = 4,
        criterion: str = "forgetting",
        tie_break: str = "order",
        labels: np.ndarray | None = None,
        carry_over: bool = False,
    ) -> None:
        if criterion not in CRITERIA:
            raise unknown_name("removal criterion", criterion, CRITERIA)
        if tie_break not in TIE_BREAKS:
            raise unknown_name("removal tie-break", tie_break, TIE_BREAKS)
        _check(total, stages)
        self.n, self.total, self.stages = n, total, stages
        self.criterion, self.tie_break, self.carry_over = criterion, tie_break, carry_over
        self.labels = None if labels is None else np.asarray(labels)
        self.kept = np.arange(n)
        self.stage = 0
        self._forget()

    def _forget(self) -> None:
        self._visits = np.zeros(self.n, np.int32)
        self._errors = np.zeros(self.n, np.int32)
        self._transitions = np.zeros(self.n, np.int32)
        self._last_correct = np.zeros(self.n, bool)
        self._loss = np.zeros(self.n, np.float64)

    def observe(self, indices: np.ndarray, correct: np.ndarray, losses: np.ndarray | None = None) -> None:
        """One visit of each of ``indices`` (ints [b], distinct).

        correct : bool [b], predicted correctly over all classes by the training-mode forward
        losses : [b], for the tie-break 'loss'
        """
        if losses is None and self.tie_break == "loss":
            raise BadInput("The tie-break 'loss' needs the samples' losses.", "Pass losses to observe().")
        correct = np.asarray(correct, bool)
        self._transitions[indices] += self._last_correct[indices] & ~correct
        self._errors[indices] += ~correct
        self._last_correct[indices] = correct
        self._visits[indices] += 1
        if losses is not None:
            self._loss[indices] += losses

    def scores(self) -> np.ndarray:
        """int [n]: low is easy."""
        if self.criterion == "errors":
            return np.where(self._visits > 0, self._errors, NEVER_CORRECT)
        return np.where(self._visits > self._errors, self._transitions, NEVER_CORRECT)

    def remove(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """One stage: drop the easiest, forget the statistics; the kept indices (int [k], sorted).

        After the last stage nothing more is removed. ``rng`` is drawn from by the tie-break 'random' only.
        """
        if self.stage >= self.stages:
            return self.kept
        self.stage += 1
        order = self._easiest_first(rng)
        count = min(int(self.total * self.n / self.stages + 1e-9), order.size)
        gone = order[:count] if self.labels is None else self._equal_shares(order, count)
        keep = np.ones(self.n, bool)
        keep[gone] = False
        self.kept = self.kept[keep[self.kept]]
        if not self.carry_over:
            self._forget()
        return self.kept

    def _easiest_first(self, rng: np.random.Generator | None) -> np.ndarray:
        score = self.scores()[self.kept]
        if self.tie_break == "order":
            tie = np.zeros(score.size)
        elif self.tie_break == "loss":
            visits = self._visits[self.kept]
            # a sample not visited in the window says nothing about itself: last among equals
            tie = np.where(visits > 0, self._loss[self.kept] / np.maximum(visits, 1), np.inf)
        else:
            if rng is None:
                raise BadInput("The tie-break 'random' needs a generator.", "Pass rng to remove().")
            tie = rng.random(score.size)
        return self.kept[np.lexsort((self.kept, tie, score))]

    def _equal_shares(self, order: np.ndarray, count: int) -> np.ndarray:
        """``count`` of ``order``, the first of each class, so that classes have lost about equal shares."""
        assert self.labels is not None
        sizes = dict(zip(*(a.tolist() for a in np.unique(self.labels, return_counts=True))))
        queues = {c: order[self.labels[order] == c] for c in sizes}
        lost = {c: sizes[c] - len(queues[c]) for c in sizes}
        taken = dict.fromkeys(sizes, 0)
        for _ in range(count):
            open_classes = [c for c in sizes if taken[c] < len(queues[c])]
            c = min(open_classes, key=lambda c: ((lost[c] + taken[c] + 1) / sizes[c], c))
            taken[c] += 1
        return np.concatenate([queues[c][: taken[c]] for c in sizes])

    def state(self) -> dict[str, np.ndarray]:
        """Everything that changes, for an exact resume."""
        return {
            "kept": self.kept.astype(np.int64),
            "stage": np.array([self.stage], np.int64),
            "visits": self._visits.copy(),
            "errors": self._errors.copy(),
            "transitions": self._transitions.copy(),
            "last_correct": self._last_correct.astype(np.uint8),
            "loss": self._loss.copy(),
        }

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `state`, of an object made with the same arguments."""
        if state["visits"].shape != (self.n,):
            raise BadInput(
                f"The saved removal state is for {state['visits'].size} samples, the task has {self.n}.",
                "Resume with the same stream and limits.",
            )
        self.kept = np.array(state["kept"], np.int64)
        self.stage = int(state["stage"][0])
        self._visits = np.array(state["visits"], np.int32)
        self._errors = np.array(state["errors"], np.int32)
        self._transitions = np.array(state["transitions"], np.int32)
        self._last_correct = np.array(state["last_correct"], bool)
        self._loss = np.array(state["loss"], np.float64)


def removal_points(epochs: int, stages: int = 4) -> tuple[float, ...]:
    """When the stages fall, in epochs since the task began: P, 2P, 3P, ... with P = max(1, round(E / 10)).

    P is 5 at the released E = 50. Below 10 epochs the same fractions of the task, E/10 apart, within epochs.

    A stage fires at the start of the first step with epoch + step / steps_in_epoch >= point.
    """
    period = max(1, round(epochs / 10)) if epochs >= 10 else epochs / 10
    return tuple(period * k for k in range(1, stages + 1))


def expected_visits(epochs: int, total: float, stages: int = 4) -> float:
    """Mean fraction of the task's samples an epoch visits: 0.775 at total 0.30 and 10, 20 or 50 epochs.

    A sample is removed after it was visited, so a stage within an epoch saves from the next epoch on.
    """
    points = removal_points(epochs, stages)
    removed = [total / stages * sum(p <= epoch + 1e-9 for p in points) for epoch in range(epochs)]
    return 1 - sum(removed) / epochs


def check_removal(n: int, epochs: int, batch: int, total: float, stages: int = 4) -> None:
    """Raise BadInput when removal is asked for (total > 0) and would never save a visit of ``n`` samples."""
    _check(total, stages)
    if total == 0:
        return
    if total * n / stages < 1:
        raise BadInput(
            f"Removing {total:.0%} of {n} samples in {stages} stages removes less than one sample a stage.",
            f"Remove at least {stages / n:.3g} of the data, or set it to 0.",
        )
    if removal_points(epochs, stages)[0] > epochs - 1 + 1e-9 or math.ceil(n / batch) * epochs < 2:
        raise BadInput(
            f"Data removal never takes effect with epochs={epochs}: every sample has its last visit before.",
            "Train 2 epochs a task or more, or set removal to 0.",
        )


def _check(total: float, stages: int) -> None:
    if not 0 <= total < 1:
        raise BadInput(f"The proportion of data to remove is {total}.", "Give a fraction in [0, 1), such as 0.3.")
    if stages < 1:
        raise BadInput(f"Data removal in {stages} stages.", "Give at least one stage.")
