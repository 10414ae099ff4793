"""ClosedForm: heads that are solved from sums of features, so that nothing is trained and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from ..errors import BadInput
from ..options import option
from ..parsing import choice
from .base import SCENARIOS, Method, StepResult
from .batch import Array, Batch, Replay
from .context import Context
from .linear_head import LinearHead
from .losses import mask_units
from .needs import Needs
from .phase import Phase
from .sums import Sums
from .visited import Visited


class ClosedForm(Method):
    """Base of closed-form heads: features of a body that stands still, counted once a sample in `Sums`.

    body : ``first task``: the body and a linear head learn on the first task as the naive method does, then stand
           still; its samples are counted at its end. ``frozen``: the body is as it came
    A sample counts once, however many epochs visit it; what no step visited is counted at the task's end, so that the
    head is that of all samples in any order. Subclasses say `solve` and `score`.
    """

    name: ClassVar[str] = ""
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    second: ClassVar[bool] = False  # whether the head needs the second moment

    body: Literal["first task", "frozen"] = option(
        "first task", choice(("first task", "frozen")), "whether the body learns on the first task, or never"
    )

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self.counted: Sums | None = None
        self.records, self.numbers = Visited(), Visited()  # by record id; where there is none, within the task
        self._unnumbered = 0  # samples counted that no store can give back
        self._body_until = 0  # record ids below it are of samples that the body learned from
        self._solved: tuple[Array, ...] | None = None

    @property
    def needs(self) -> Needs:
        return Needs(
            fetch=("logits",), predict=("logits", "features"), statistics=self.bytes, trains="none", body=self.body
        )

    def bytes(self, width: int, classes: int) -> int:
        """Bytes of the sums, and of what is solved from them, for features of ``width``."""
        solving = 2 * 8 * width * width if self.second else 0  # the matrix, and its factors or what is taken off it
        return Sums.bytes(width, classes, self.second) + 8 * classes * width + solving

    # -- what a head says

    def features(self, raw: Array) -> Array:
        """What is counted, [n, m], of the classifier's input ``raw`` [n, ...]."""
        return raw.reshape(len(raw), -1)

    def solve(self, sums: Sums) -> tuple[Array, ...]:
        """The head, from the sums."""
        raise NotImplementedError

    def score(self, solved: tuple[Array, ...], features: Array) -> Array:
        """Scores [n, C] of features [n, m], C as in the sums."""
        raise NotImplementedError

    def layer(self, solved: tuple[Array, ...], known: Array) -> LinearHead | None:
        """The linear layer over the classifier's input that scores as `score` does; None where there is none."""
        return None

    def _head(self, counted: Sums) -> tuple[tuple[Array, ...], Array]:
        """The head, solved once for what was counted, and which classes it knows; under the sums' lock."""
        if self._solved is None:
            self._solved = self.solve(counted)
        return self._solved, counted.counts > 0.5

    # -- counting

    def add(self, raw: Array, y: Array, sign: float = 1.0) -> None:
        """Count the classifier's inputs ``raw`` [n, ...] of head units ``y``; ``sign`` -1 takes them out again."""
        features = self.features(raw)
        if self.counted is None:
            self.counted = Sums(features.shape[1], self.second)
        self.counted.add(features, np.asarray(y, np.int64), sign)
        self._solved = None

    def merge(self, other: ClosedForm) -> None:
        """Add what ``other``, a head over the same body, counted: as if one device had seen all."""
        if other.counted is None:
            return
        if self.counted is None:
            self.counted = Sums(other.counted.width, self.second)
        if self.counted.width != other.counted.width or len(self.counted.blocks) != len(other.counted.blocks):
            raise BadInput(
                f"Heads over {self.counted.width} and {other.counted.width} features cannot be merged.",
                "Merge heads of one kind over one body.",
            )
        self.counted.merge(other.counted)
        self._solved = None

    def _take(self, c: Context, batch: Batch) -> Array | None:
        """Count what is new in a batch; logits [n, C] of the rows that were looked at."""
        fresh = np.zeros(len(batch), bool)
        ids = np.full(len(batch), -1) if batch.ids is None else batch.ids
        fresh[ids >= 0] = self.records.add(ids[ids >= 0])
        if (ids < 0).any():
            assert batch.indices is not None
            fresh[ids < 0] = self.numbers.add(batch.indices[ids < 0])
            self._unnumbered += int(fresh[ids < 0].sum())
        if not fresh.any():
            return None
        outs = c.evaluate(batch.x[fresh], ("logits", "features"))
        self.add(outs["features"], batch.y[fresh])
        return outs["logits"]

    def train_step(self, c, batch, replay: Replay, lr, *, micro_batch=None, before_step=None) -> StepResult:  # type: ignore[no-untyped-def]
        """Count the batch; the network is not touched."""
        self._take(c, batch)
        logits = np.zeros((len(batch), c.engine.model.graph.classes), np.float32)
        return StepResult(0.0, logits, [], 0)

    def begin_task(self, c: Context) -> Sequence[Phase]:
        self.numbers = Visited()
        return ()

    def end_task(self, c: Context) -> Sequence[Phase]:
        for batch in c.task_samples(c.engine.plan.predict_batch):
            self._take(c, batch)
            if c.task.first and self.body == "first task" and batch.ids is not None:
                self._body_until = max(self._body_until, int(batch.ids.max()) + 1)
        return ()

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        """Subtract the subject's samples, read back by their record ids. False where the body learned from some of
        them, or some can no longer be read, or samples were counted that are in no store.
        """
        mine = np.asarray(ids, np.int64)
        mine = mine[self.records.has(mine)]
        exact = not self._unnumbered and not bool((mine < self._body_until).any())
        left = len(mine)
        for batch in c.stored_samples(mine, c.engine.plan.predict_batch):
            self.add(c.evaluate(batch.x, ("logits", "features"))["features"], batch.y, -1.0)
            left -= len(batch)
        self.records.discard(mine)
        return exact and left == 0

    # -- prediction

    def scores(self, outs: Mapping[str, Array], seen_units: Array | None = None) -> Array:
        classes = outs["logits"].shape[1]
        if self.counted is None:
            return mask_units(outs["logits"], seen_units)
        with self.counted.lock:
            solved, known = self._head(self.counted)
        found = self.score(solved, self.features(outs["features"]).astype(np.float64))
        full = np.full((len(found), classes), -np.inf, np.float32)
        width = min(classes, found.shape[1])
        full[:, :width] = np.where(known[:width], found[:, :width], -np.inf)
        return mask_units(full, seen_units)

    def linear_head(self, own: LinearHead | None) -> LinearHead | None:
        if self.counted is None:
            return own
        with self.counted.lock:
            return self.layer(*self._head(self.counted))

    # -- saved state

    def state(self) -> dict[str, Array]:
        about = {
            "records": self.records.state(),
            "numbers": self.numbers.state(),
            "body_until": np.array([self._body_until, self._unnumbered], np.int64),
        }
        return about if self.counted is None else {**about, **self.counted.state()}

    def load(self, state: Mapping[str, Array]) -> None:
        self.records.load(state["records"])
        self.numbers.load(state["numbers"])
        self._body_until, self._unnumbered = (int(v) for v in state["body_until"])
        self.counted = Sums.from_state(state) if "sums" in state else None
        self._solved = None
