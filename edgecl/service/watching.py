"""Watching the model: held-out and prequential accuracy, and going back where it got worse."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import EdgeclError, NothingLearned
from .bodies import Samples
from .config import ServiceConfig
from .held import PIECE, Held
from .holdout import Holdout
from .journal import Journal
from .judge import Prequential, Verdict, compare
from .schedule import LEAST_STEPS, Schedule
from .slots import Slots

GUESSED = 8  # samples of a request that are predicted before they are learned


class Watching:
    """accuracy : on the holdout after the last slice that was judged, or None;  rollbacks : so far in this life"""

    def __init__(self, config: ServiceConfig, held: Held, journal: Journal) -> None:
        self._held, self._journal = held, journal
        self.holdout = Holdout(config.state, config.holdout)
        self.holdout.load(held.learner.samples)
        self.prequential = Prequential()
        self.slots = Slots(config.state)
        held.slot = self.slots.slot
        self.accuracy: float | None = None
        self.by_label: dict[Any, float] = {}
        self.rollbacks = 0
        self._right: dict[int, bool] = {}  # of the last good model
        self._steps = 0  # since it was judged

    # -- the intake thread

    def guess(self, samples: Samples) -> None:
        """Predict a few labelled samples before they are learned."""
        x = samples.x[:GUESSED]
        labels = samples.labels if isinstance(samples.labels, list) else [samples.labels] * len(x)
        try:
            shares, known, _, _ = self._held.shares(x)
        except (NothingLearned, EdgeclError):
            return
        for label, row in zip(labels, shares):
            self.prequential.add(known[int(row.argmax())] == label)

    def observe(self, samples: Samples) -> list[int]:
        """Ids of samples, of which some are held out."""
        labels = samples.labels
        labels = [labels] * len(samples.x) if isinstance(labels, (str, int)) else labels
        if not isinstance(labels, list) or len(labels) != len(samples.x) or not self._held.durable:
            return self._held.observe(samples)
        out = self.holdout.choose([label for label in labels if isinstance(label, (str, int))])
        if len(out) != len(labels) or not out.any():
            return self._held.observe(samples)
        ids = np.zeros(len(labels), np.int64)
        if not out.all():
            learned = [label for label, held in zip(labels, out) if not held]
            ids[~out] = self._held.observe(Samples(samples.x[~out], learned, samples.subject, samples.task))
        held = self._held.store_only(samples.x[out], samples.subject)
        ids[out] = held
        kept = [label for label, held_out in zip(labels, out) if held_out]
        self.holdout.add(held, kept, samples.subject, samples.x[out])
        return ids.tolist()

    def flush(self) -> None:
        """Returns when samples and what is said of them are on flash."""
        self._held.flush()
        self.holdout.save()

    # -- the work thread

    def before_slice(self) -> None:
        """Give displaced samples back, and see how good the model is that is about to change."""
        self._give_back(self.holdout.given_back())
        if self._held.steps and self.slots.good is None:
            self._keep()
        elif self._held.steps and self._steps == 0:
            self._right = self._answers()  # of new labels, too

    def _give_back(self, labelled: list[tuple[int, Any]]) -> None:
        """Samples that were held out have their labels again, as far as they are still there."""
        there = self._held.learner.samples([i for i, _ in labelled])
        left = [(i, label) for i, label in labelled if i in there]
        if left:
            self._held.relabel([i for i, _ in left], [label for _, label in left])

    def give_all_back(self) -> None:
        """Nothing is held out any more."""
        self._give_back(self.holdout.given_back() + self.holdout.empty())

    def _keep(self) -> None:
        """The present model is the good one."""
        self.holdout.passed()
        self._right = self._answers()
        self.slots.good = self._held.learner.model.state() if len(self._right) >= self.holdout.options.least else None
        self._steps = 0

    def _answers(self) -> dict[int, bool]:
        """Of which held-out samples the present model is right."""
        ids, labels, x = self.holdout.batch()
        right: dict[int, bool] = {}
        for at in range(0, len(ids), PIECE):
            shares, known, _, _ = self._held.live_shares(x[at : at + PIECE])
            for k, row in enumerate(shares, at):
                right[ids[k]] = known[int(row.argmax())] == labels[k]
        if ids:
            self.accuracy = sum(right.values()) / len(ids)
            names = set(labels)
            self.by_label = {n: float(np.mean([right[i] for i, y in zip(ids, labels) if y == n])) for n in names}
        return right

    def after_slice(self, steps: int, schedule: Schedule) -> Verdict | None:
        """Judge the model after so many more steps; go back where it got worse."""
        self._steps += steps
        if self._steps < LEAST_STEPS:
            return None
        verdict = compare(self._right, self._answers(), self.holdout.options)
        if verdict is not None and verdict.worse and self.slots.good is not None:
            self._go_back(verdict, schedule)
        else:
            self._keep()
            schedule.passed()
        return verdict

    def _go_back(self, verdict: Verdict, schedule: Schedule) -> None:
        assert self.slots.good is not None
        step = self._held.steps
        self._held.learner.model.load(self.slots.good)
        self.rollbacks += 1
        self._steps = 0
        wait = schedule.wait_longer()
        self._journal.write(
            "rollback", step, why="held-out accuracy fell", before=round(verdict.before, 4),
            after=round(verdict.after, 4), samples=verdict.samples, lost=verdict.lost, won=verdict.won,
            p=verdict.p, next_slice_in_seconds=round(wait, 1),
        )  # fmt: skip
        self.accuracy = verdict.before

    def answers(self) -> dict[int, bool]:
        """Of which held-out samples the weights that learn are right."""
        return self._answers() if self._held.steps else {}

    def passed(self) -> None:
        """A model from elsewhere did well: it is the good one."""
        self._keep()

    def rollback(self) -> dict[str, Any]:
        """Go back to the model before the last good one, as somebody asked."""
        state = self.slots.read_before()
        step = self._held.steps
        self._held.learner.model.load(state)
        self.slots.went_back()
        self.slots.good = None
        self._held.slot, self._held.unsaved = self.slots.slot, True
        self._keep()
        self.rollbacks += 1
        self._journal.write("rollback", step, why="asked for", slot=self.slots.slot, to_steps=int(state["steps"]))
        return {"slot": self.slots.slot, "steps": int(state["steps"])}

    def save(self) -> None:
        """Slots and holdout on flash. Raises `OSError` or `EdgeclError`."""
        self.slots.write()
        self._held.slot = self.slots.slot
        self.holdout.save()

    def forgot(self, subject: int) -> None:
        """A subject was forgotten: its samples judge no more, and no kept model carries it."""
        self.holdout.drop(lambda i, row: row.subject != subject)
        self.holdout.save()
        self.slots.forget()
        self._right, self._steps = {}, 0

    def facts(self) -> dict[str, Any]:
        return {
            "prequential": self.prequential.accuracy, "prequential_samples": self.prequential.count,
            "holdout": self.accuracy, "holdout_samples": len(self.holdout), "rollbacks": self.rollbacks,
            "slot": self.slots.slot, "classes": [[label, share] for label, share in list(self.by_label.items())],
        }  # fmt: skip
