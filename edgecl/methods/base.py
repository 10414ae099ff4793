"""Method: the contract of continual-learning methods and the default training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..engine.base import Engine
from ..errors import BadInput, EdgeclError
from ..options import Configurable, option
from ..parsing import choice, flag, fraction
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .linear_head import LinearHead
from .losses import cross_entropy, mask_units
from .needs import Needs
from .phase import Phase

Term = tuple[float, Array]  # value, gradient float32 [rows, C]
SCENARIOS = ("task-il", "class-il", "domain-il", "task-free")
AVERAGE = "ema"  # the side that holds an average of the weights


class NonFiniteLoss(EdgeclError):
    """The loss of a step is NaN or infinite. Raised before any weight changed; gradients are discarded."""


@dataclass(frozen=True)
class StepResult:
    """Loss, outputs and counts of one training step.

    Parameters
    ----------
    loss : value of the whole loss
    logits_current : float32 [B, C] of the training forward
    logits_replay : one float32 [R, C] per draw
    samples : rows that went through a training forward and back
    terms : the loss by term, weighted as it was added (``current``, ``replay``)
    chosen : per draw the rows of the candidates that were replayed, or None for all of a draw
    outs : further fetched tensors of the current rows, by name (``features``), float32 [B, ...]
    """

    loss: float
    logits_current: Array
    logits_replay: list[Array]
    samples: int
    terms: dict[str, float] = field(default_factory=dict)
    chosen: list[Array] | None = None
    outs: dict[str, Array] = field(default_factory=dict)


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
    ema            : predictions use the average th_bar <- a th_bar + (1 - a) th of the weights, a value above 0; the
                     k-th step takes min(a, 1 - 1/k), so that nothing of the initial weights is kept

    scenarios : of `SCENARIOS`, those the method is meant for; empty where it does not say
    reference : the paper, in a few words
    defaults : options of a run that suit the method, in force over a stream's where nobody says otherwise
    """

    name: ClassVar[str] = ""
    wants_all_tasks: ClassVar[bool] = False
    scenarios: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = {}

    current_loss: str = option("full", choice(("full", "masked")), "units the current loss sees", run="current_loss")
    replay_forward: str = option(
        "joint", choice(("joint", "separate")), "one forward over current and replay, or several", run="replay_forward"
    )
    mask_unseen: bool = option(False, flag, "hide units of classes never seen from every cross-entropy")
    ema: float = option(0.0, fraction(high_open=True), "predict with an average of the weights, such as 0.99; 0: off")

    # -- what the learner and the planner ask

    @property
    def needs(self) -> Needs:
        """Demands beside the current samples: draws, fields, sides, passes."""
        return Needs()

    @property
    def sides(self) -> tuple[str, ...]:
        """Every parameter set beside the model: those the method asks for, and the average of the weights."""
        return (*self.needs.sides, AVERAGE) if self.ema else self.needs.sides

    @property
    def predict_side(self) -> str | None:
        """The parameter set that predictions use; None: the model."""
        return AVERAGE if self.ema else self.needs.predict_side

    def average(self, engine: Engine, step: int) -> None:
        """Move the average of the weights towards the weights after training step ``step`` (from 0)."""
        if self.ema:
            engine.side(AVERAGE).blend(min(self.ema, 1 - 1 / (step + 1)))

    def offer_fields(self, result: StepResult, width: int) -> dict[str, Array]:
        """Fields to store with the current samples, from the training forward: float16 logits [B, width],
        ``width`` being the number of head units in use. Values outside float16 are clipped to its range.
        """
        if self.needs.field("logits") is None:
            return {}
        return {"logits": np.clip(result.logits_current[:, :width], -65504, 65504).astype(np.float16)}

    def scores(self, outs: Mapping[str, Array], seen_units: Array | None = None) -> Array:
        """Scores for prediction, float32 [B, C]; units never seen are at -inf."""
        return mask_units(outs["logits"], seen_units)

    def linear_head(self, own: LinearHead | None) -> LinearHead | None:
        """The linear layer that gives the same scores as `scores`, for an exported file.

        A class with `scores` of its own returns such a layer, or None where there is none.

        own : the network's own classifier, None where that is no linear layer
        """
        return own if type(self).scores is Method.scores else None

    # -- the loss

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        """(weight of the current term, weight of each draw's term)."""
        return 1.0, [1.0] * len(replay)

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        """(Loss, gradient) of the current rows ``part``: a sum over rows, divided by the size of ``whole``."""
        return cross_entropy(logits, part.y, self._current_units(part, logits.shape[1]), count=len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        """(Loss, gradient) of rows ``part`` of draw j: a sum over rows, divided by the size of ``whole``."""
        raise NotImplementedError(f"Method '{self.name}' uses no replay.")

    def loss(self, outs: Mapping[str, Array], batch: Batch, replay: Replay) -> tuple[float, dict[str, Array]]:
        """Joint form. ``outs['logits']`` holds the rows [current | draw 0 | draw 1 ...].

        Returns (value, {"logits": gradient float32 of the same rows}).
        """
        self._check_draws(replay)
        terms, grad = self._terms(outs["logits"], whole_step(batch, replay), batch, replay)
        return sum(terms.values()), {"logits": grad}

    def _terms(
        self, logits: Array, segments: Sequence[Segment], batch: Batch, replay: Replay
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

    def choose(self, c: Context, batch: Batch, candidates: Draw) -> Array:
        """Rows of ``candidates`` to replay, int [R]; asked for where `Needs.candidates` is set, once the current rows
        went forward and back. By default the first ones, as many as current rows.
        """
        return np.arange(min(len(batch), len(candidates)))

    def train_step(
        self,
        c: Context,
        batch: Batch,
        replay: Replay,
        lr: float,
        *,
        micro_batch: int | None = None,
        before_step: Callable[[Engine], None] | None = None,
    ) -> StepResult:
        """`prepare`, `passes`, ``before_step(engine)``, step.

        micro_batch : at most this many rows in one forward; the gradient stays that of the whole batch, but
                      batch norm sees each micro-batch alone
        Raises `NonFiniteLoss` before the step; a draw without rows counts as absent.
        """
        engine = c.engine
        batch, replay = self.prepare(c, batch, [d for d in replay if len(d)])
        self._check_draws(replay)
        work = Work(self, engine, batch, micro_batch)
        try:
            replay, chosen = self.passes(c, work, batch, replay, lr)
            if before_step is not None:
                before_step(engine)
        except Exception:
            engine.discard()
            raise
        engine.step(lr)
        return work.result(replay, chosen)

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        """Batch and draws of a step, as given or with values beside the rows (`Batch.extra`: a teacher's logits)."""
        return batch, replay

    def passes(
        self, c: Context, work: Work, batch: Batch, replay: Replay, lr: float
    ) -> tuple[Replay, list[Array] | None]:
        """Forward and backward of a step, which leave the step's gradients in ``engine.gradients``.

        Returns the draws that were replayed, and per draw the rows that `choose` named.
        """
        if self.needs.candidates and replay:
            work.backward([Segment(None, 0, len(batch))], replay)
            chosen = [np.asarray(self.choose(c, batch, d), np.int64) for d in replay]
            replay = [d.take(rows) for d, rows in zip(replay, chosen)]
            for segment in whole_step(batch, replay)[1:]:
                work.backward([segment], replay)
            return replay, chosen
        whole = whole_step(batch, replay)
        for group in [whole] if self.replay_forward == "joint" else [[s] for s in whole]:
            work.backward(group, replay)
        return replay, None

    # -- events. A stream without tasks never has begin_task and end_task

    def begin_task(self, c: Context) -> Sequence[Phase]:
        """Called before the first step of a task, whose samples are `c.data`; phases run before the epochs."""
        return ()

    def after_step(self, c: Context, result: StepResult) -> None:
        """After each step of a task's own epochs."""

    def accept(self, c: Context, batch: Batch, result: StepResult) -> tuple[Array | None, Array | None]:
        """(rows of the batch that are offered to the memory, their positions or bool [B], or None for all; their scores
        as float [rows], for a memory policy that ``takes_scores``, or None)."""
        return None, None

    def end_task(self, c: Context) -> Sequence[Phase]:
        """After the last step of a task, when the policy has filled the memory; phases run before the evaluation."""
        return ()

    def finish(self, c: Context) -> Sequence[Phase]:
        """After the last task; its phases train at the end only (GDumb)."""
        return ()

    def state(self) -> dict[str, Array]:
        """Arrays that resume needs beside engine, sides, arrays per weight and memory."""
        return {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays of a saved `state`."""

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        """Subtract a subject's samples from the method's own statistics, before the samples are deleted.

        False where that cannot be exact; True also where the method keeps no statistics.
        """
        return not self.state()

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
        wanted = 1 if self.needs.merged else self.needs.draws
        if len(replay) not in (0, wanted):
            raise BadInput(
                f"Method '{self.name}' uses {wanted} replay draws a step, not {len(replay)}.",
                "Draw as often as method.needs.draws says.",
            )


class Work:
    """The forward and backward passes of one step, and what they found."""

    def __init__(self, method: Method, engine: Engine, batch: Batch, micro_batch: int | None) -> None:
        self.method, self.engine, self.batch, self.micro_batch = method, engine, batch, micro_batch
        self.fetch = method.needs.fetch if "logits" in method.needs.fetch else ("logits", *method.needs.fetch)
        self.terms: dict[str, float] = {}
        self.logits: dict[int | None, list[Array]] = {}
        self.outs: dict[str, list[Array]] = {}

    def backward(self, group: Sequence[Segment], replay: Replay) -> None:
        """Forward and backward over a group's rows, at most a micro-batch at once."""
        feed = self.engine.model.graph.input
        for chunk in _chunks(group, self.micro_batch):
            x = _rows(chunk, self.batch, replay)
            if not len(x):
                continue
            outs = self.engine.forward({feed: x}, fetch=self.fetch, training=True)
            values, seeds = self.method._terms(outs["logits"], chunk, self.batch, replay)
            for key, value in values.items():
                self.terms[key] = self.terms.get(key, 0.0) + value
            _refuse_non_finite(self.terms)
            at = 0
            for s in chunk:
                rows = slice(at, at + s.stop - s.start)
                self.logits.setdefault(s.draw, []).append(np.array(outs["logits"][rows]))
                if s.draw is None:
                    for name in self.fetch:
                        if name != "logits":
                            self.outs.setdefault(name, []).append(np.array(outs[name][rows]))
                at = rows.stop
            self.engine.backward({"logits": seeds})

    def result(self, replay: Replay, chosen: list[Array] | None) -> StepResult:
        classes = self.engine.model.graph.classes

        def joined(draw: int | None) -> Array:
            found = self.logits.get(draw)
            return np.concatenate(found) if found else np.zeros((0, classes), np.float32)

        return StepResult(
            loss=float(sum(self.terms.values())),
            logits_current=joined(None),
            logits_replay=[joined(j) for j in range(len(replay))],
            samples=len(self.batch) + sum(len(d) for d in replay),
            terms=self.terms,
            chosen=chosen,
            outs={name: np.concatenate(rows) for name, rows in self.outs.items()},
        )


@dataclass(frozen=True)
class Segment:
    """Rows start..stop-1 of the current batch (draw None) or of a replay draw."""

    draw: int | None
    start: int
    stop: int


def whole_step(batch: Batch, replay: Replay) -> list[Segment]:
    return [Segment(None, 0, len(batch)), *(Segment(j, 0, len(d)) for j, d in enumerate(replay))]


def _chunks(group: Sequence[Segment], limit: int | None) -> list[list[Segment]]:
    """The group's rows in order, cut into chunks of at most ``limit`` rows."""
    if limit is None:
        return [list(group)]
    if limit < 1:
        raise BadInput(f"micro_batch is {limit}.", "Use at least 1.")
    chunks: list[list[Segment]] = [[]]
    room = limit
    for s in group:
        at = s.start
        while at < s.stop:
            if room == 0:
                chunks.append([])
                room = limit
            stop = min(s.stop, at + room)
            chunks[-1].append(Segment(s.draw, at, stop))
            room -= stop - at
            at = stop
    return chunks


def _rows(chunk: Sequence[Segment], batch: Batch, replay: Replay) -> Array:
    parts = [(batch.x if s.draw is None else replay[s.draw].x)[s.start : s.stop] for s in chunk]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _refuse_non_finite(terms: Mapping[str, float]) -> None:
    if not np.isfinite(sum(terms.values())):
        listed = ", ".join(f"{k} {v:g}" for k, v in terms.items())
        raise NonFiniteLoss(
            f"The loss of this step is not finite ({listed}).",
            "Lower the learning rate or check the samples.",
        )
