"""Method: the contract of continual-learning methods and the default training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..engine.base import Engine
from ..errors import BadInput, EdgeclError
from ..options import Configurable, option
from ..parsing import choice, flag
from .batch import Array, Batch, Draw, Replay
from .losses import cross_entropy, mask_units

Term = tuple[float, Array]  # value, gradient float32 [rows, C]


class NonFiniteLoss(EdgeclError):
    """The loss of a step is NaN or infinite. Raised before any weight changed; gradients are discarded."""


@dataclass(frozen=True)
class Needs:
    """What a method asks of memory and engine; the planner counts it.

    draws : replay draws per step;  fields : stored beside a sample (``logits``)
    fetch : tensors fetched from a training forward;  teacher : needs a snapshot of the model
    """

    draws: int = 0
    fields: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ("logits",)
    teacher: bool = False

    def rows(self, batch: int, replay_batch: int, replay_forward: str = "joint", micro_batch: int | None = None) -> int:
        """Rows of the largest single training forward: the plan's batch."""
        drawn = replay_batch if self.draws else 0
        rows = batch + self.draws * drawn if replay_forward == "joint" else max(batch, drawn)
        return rows if micro_batch is None else min(rows, micro_batch)


@dataclass(frozen=True)
class StepResult:
    """loss : value of the whole loss;  logits_current : float32 [B, C] of the training forward
    logits_replay : one float32 [R, C] per draw;  samples : rows that went through the network
    terms : the loss by term, weighted as it was added (``current``, ``replay``)
    """

    loss: float
    logits_current: Array
    logits_replay: list[Array]
    samples: int
    terms: dict[str, float] = field(default_factory=dict)


class Method(Configurable):
    """Base of methods: cross-entropy on current data, no replay. Subclasses add replay terms.

    The loss is  w_c * current_term + sum_j w_j * replay_term(j), with the weights of `term_weights`.

    current_loss   : ``full`` (all head units; Mammoth) or ``masked`` (units outside the current task at -inf;
                     SparCL's released runs). Without ``task_units`` (task-free) masked equals full.
    replay_forward : ``joint``, one forward over [current | replay draws], so that batch norm sees both; or
                     ``separate``, Mammoth's form: one forward and backward each. Without batch norm both give
                     the same gradient.
    mask_unseen    : also hide units of classes never seen from every cross-entropy. Off, as in Mammoth: the
                     loss then pushes unseen units down, which is harmless as prediction hides them, and keeps
                     the reference's gradients.
    """

    name: ClassVar[str] = ""
    wants_all_tasks: ClassVar[bool] = False

    current_loss: str = option("full", choice(("full", "masked")), "units the current loss sees", run="current_loss")
    replay_forward: str = option(
        "joint", choice(("joint", "separate")), "one forward over current and replay, or several", run="replay_forward"
    )
    mask_unseen: bool = option(False, flag, "hide units of classes never seen from every cross-entropy")

    # -- what the learner and the planner ask

    @property
    def needs(self) -> Needs:
        return Needs()

    def offer_fields(self, result: StepResult, width: int) -> dict[str, Array]:
        """Fields to store with the current samples, from the training forward: float16 logits [B, width],
        ``width`` being the number of head units in use. Values outside float16 are clipped to its range.
        """
        if "logits" not in self.needs.fields:
            return {}
        return {"logits": np.clip(result.logits_current[:, :width], -65504, 65504).astype(np.float16)}

    def scores(self, outs: Mapping[str, Array], seen_units: Array | None = None) -> Array:
        """Scores for prediction, float32 [B, C]; units never seen are at -inf."""
        return mask_units(outs["logits"], seen_units)

    # -- the loss

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        """(weight of the current term, weight of each draw's term)."""
        return 1.0, [1.0] * len(replay)

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        """Loss of current rows ``part``, summed over them and divided by the size of ``whole``."""
        return cross_entropy(logits, part.y, self._current_units(part, logits.shape[1]), count=len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        """Loss of rows ``part`` of draw j, divided by what ``whole`` counts."""
        raise NotImplementedError(f"Method '{self.name}' uses no replay.")

    def loss(self, outs: Mapping[str, Array], batch: Batch, replay: Replay) -> tuple[float, dict[str, Array]]:
        """Joint form. ``outs['logits']`` holds the rows [current | draw 0 | draw 1 ...].

        Returns (value, {"logits": gradient float32 of the same rows}).
        """
        self._check_draws(replay)
        terms, grad = self._terms(outs["logits"], _whole(batch, replay), batch, replay)
        return sum(terms.values()), {"logits": grad}

    def _terms(
        self, logits: Array, segments: Sequence[_Segment], batch: Batch, replay: Replay
    ) -> tuple[dict[str, float], Array]:
        """Weighted loss by term and its gradient for the rows of ``segments``, in their order."""
        current_weight, draw_weights = self.term_weights(batch, replay)
        terms: dict[str, float] = {}
        grads = []
        at = 0
        for s in segments:
            rows = logits[at : at + s.stop - s.start]
            at += s.stop - s.start
            if s.draw is None:
                key, w = "current", current_weight
                value, grad = self.current_term(rows, batch.rows(s.start, s.stop), batch)
            else:
                key, w = "replay", draw_weights[s.draw]
                drawn = replay[s.draw]
                value, grad = self.replay_term(s.draw, rows, drawn.rows(s.start, s.stop), drawn, batch)
            terms[key] = terms.get(key, 0.0) + w * value
            grads.append(grad if w == 1.0 else grad * np.float32(w))
        return terms, np.concatenate(grads)

    # -- the step

    def train_step(
        self,
        engine: Engine,
        batch: Batch,
        replay: Replay,
        rng: np.random.Generator,
        lr: float,
        *,
        micro_batch: int | None = None,
        before_step: Callable[[Engine], None] | None = None,
    ) -> StepResult:
        """Forward, loss, backward, ``before_step(engine)``, step.

        micro_batch : at most this many rows in one forward; the gradient stays that of the whole batch, but
                      batch norm sees each micro-batch alone
        Raises `NonFiniteLoss` before the step; a draw without rows counts as absent.
        """
        replay = [d for d in replay if len(d)]
        self._check_draws(replay)
        feed, fetch = engine.model.graph.input, self.needs.fetch
        terms: dict[str, float] = {}
        logits: dict[int | None, list[Array]] = {None: [], **{j: [] for j in range(len(replay))}}
        whole = _whole(batch, replay)
        groups = [whole] if self.replay_forward == "joint" else [[s] for s in whole]
        try:
            for chunk in (c for group in groups for c in _chunks(group, micro_batch)):
                outs = engine.forward({feed: _rows(chunk, batch, replay)}, fetch=fetch, training=True)
                values, seeds = self._terms(outs["logits"], chunk, batch, replay)
                for key, value in values.items():
                    terms[key] = terms.get(key, 0.0) + value
                _refuse_non_finite(terms)
                at = 0
                for s in chunk:
                    logits[s.draw].append(np.array(outs["logits"][at : at + s.stop - s.start]))
                    at += s.stop - s.start
                engine.backward({"logits": seeds})
            if before_step is not None:
                before_step(engine)
        except Exception:
            engine.discard()
            raise
        engine.step(lr)
        return StepResult(
            loss=float(sum(terms.values())),
            logits_current=np.concatenate(logits[None]),
            logits_replay=[np.concatenate(logits[j]) for j in range(len(replay))],
            samples=len(batch) + sum(len(d) for d in replay),
            terms=terms,
        )

    # -- events: the learner calls them; a stream without tasks never has begin_task and end_task

    def begin_task(self, engine: Engine, task: int | None) -> None:
        """Before the first step of a task."""

    def end_epoch(self, engine: Engine, epoch: int) -> None:
        """After the last step of an epoch."""

    def end_task(self, engine: Engine, memory: Any = None) -> None:
        """After the last step of a task."""

    def finish(self, engine: Engine, memory: Any = None) -> None:
        """After the last task (methods that train at the end only)."""

    def state(self) -> dict[str, Array]:
        """What resume needs beside engine and memory."""
        return {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned."""

    # -- helpers

    def _current_units(self, batch: Batch, classes: int) -> Array | None:
        """Units the current cross-entropy sees, bool [C], or None for all."""
        if self.current_loss == "masked" and batch.task_units is not None:
            units = np.zeros(classes, bool)
            units[batch.task_units] = True
            return units
        return self._seen_units(batch)

    def _seen_units(self, batch: Batch) -> Array | None:
        return batch.seen_units if self.mask_unseen else None

    def _check_draws(self, replay: Replay) -> None:
        if len(replay) not in (0, self.needs.draws):
            raise BadInput(
                f"Method '{self.name}' uses {self.needs.draws} replay draws a step, not {len(replay)}.",
                "Draw as often as method.needs.draws says.",
            )


@dataclass(frozen=True)
class _Segment:
    """Rows start..stop-1 of the current batch (draw None) or of a replay draw."""

    draw: int | None
    start: int
    stop: int


def _whole(batch: Batch, replay: Replay) -> list[_Segment]:
    return [_Segment(None, 0, len(batch)), *(_Segment(j, 0, len(d)) for j, d in enumerate(replay))]


def _chunks(group: Sequence[_Segment], limit: int | None) -> list[list[_Segment]]:
    """The group's rows in order, cut into chunks of at most ``limit`` rows."""
    if limit is None:
        return [list(group)]
    if limit < 1:
        raise BadInput(f"micro_batch is {limit}.", "Use at least 1.")
    chunks: list[list[_Segment]] = [[]]
    room = limit
    for s in group:
        at = s.start
        while at < s.stop:
            if room == 0:
                chunks.append([])
                room = limit
            stop = min(s.stop, at + room)
            chunks[-1].append(_Segment(s.draw, at, stop))
            room -= stop - at
            at = stop
    return chunks


def _rows(chunk: Sequence[_Segment], batch: Batch, replay: Replay) -> Array:
    parts = [(batch.x if s.draw is None else replay[s.draw].x)[s.start : s.stop] for s in chunk]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _refuse_non_finite(terms: Mapping[str, float]) -> None:
    if not np.isfinite(sum(terms.values())):
        listed = ", ".join(f"{k} {v:g}" for k, v in terms.items())
        raise NonFiniteLoss(
            f"The loss of this step is not finite ({listed}).",
            "Lower the learning rate or check the samples.",
        )
