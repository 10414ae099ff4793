"""Bias correction (Wu et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import fraction, real
from .base import Method, Term
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .distil import soft_cross_entropy
from .linear_head import LinearHead
from .losses import cross_entropy, log_softmax, mask_units
from .needs import Needs, Passes
from .phase import Phase
from .step import beside, units_of


class BiC(Method):
    """(1 - l) CE + l T^2 KD against the corrected old network, l = old / (old + new classes); then z_c <- s z_c + b for
    the newest classes, the two scalars fitted on rows kept out of training.

    Batches of task and memory come in one order. The scalars are fitted by Newton's method on the cross-entropy of
    the held-out rows' logits, forwarded once, where the paper trains them for 250 epochs. Only the latest task's
    correction is kept: at the next task it becomes the teacher's.
    """

    name: ClassVar[str] = "bic"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il")
    reference: ClassVar[str] = "Wu et al., CVPR 2019"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "balanced"}

    temperature: float = option(2.0, real(0.0, True), "temperature of the distillation")
    kept_out: float = option(
        0.1, fraction(low_open=True, high=0.5), "share of the memory kept out, and as many new rows"
    )

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._old: Array = np.zeros(0, np.int64)
        self._newest: Array = np.zeros(0, np.int64)
        self.correction = (1.0, 0.0)  # scale and shift of the newest units
        self._of_teacher = (1.0, 0.0), np.zeros(0, np.int64)

    @property
    def needs(self) -> Needs:
        return Needs(merged=True, holdout=self.kept_out, sides=("teacher",), passes=Passes(forward=1.0))

    def begin_task(self, c: Context) -> Sequence[Phase]:
        if not c.task.first:
            old = c.seen.copy()
            old[c.task.units] = False
            self._old = np.flatnonzero(old)
            self._of_teacher = self.correction, self._newest
            c.engine.side("teacher").copy_from(c.engine.model)
        self.correction, self._newest = (1.0, 0.0), np.asarray(c.task.units, np.int64)
        return ()

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        if not self._old.size:
            return batch, replay
        batch, replay = beside(c, batch, replay, "teacher")
        return self._corrected_teacher(batch), [self._corrected_teacher(d) for d in replay]

    def _corrected_teacher(self, rows: Any) -> Any:
        if "teacher" not in rows.extra:
            return rows
        return replace(rows, extra={**rows.extra, "teacher": _corrected(rows.extra["teacher"], *self._of_teacher)})

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        total = max(len(batch) + sum(len(d) for d in replay), 1)
        return len(batch) / total, [len(d) / total for d in replay]

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        return self._term(logits, part, whole, len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return self._term(logits, part, batch, len(whole))

    def _term(self, logits: Array, part: Batch | Draw, whole: Batch, rows: int) -> Term:
        value, grad = cross_entropy(logits, part.y, whole.seen_units, count=max(rows, 1))
        teacher = part.extra.get("teacher")
        if teacher is None:
            return value, grad
        share = self._old.size / (self._old.size + self._newest.size)
        old = units_of(self._old, logits.shape[1])
        soft, soft_grad = soft_cross_entropy(logits, teacher, old, self.temperature, max(rows, 1))
        hard, soften = 1 - share, share * self.temperature**2
        return hard * value + soften * soft, np.float32(hard) * grad + np.float32(soften) * soft_grad

    def end_task(self, c: Context) -> Sequence[Phase]:
        logits, labels = [], []
        for batch in c.holdout(c.engine.plan.predict_batch):
            logits.append(c.evaluate(batch.x, ("logits",), self.predict_side)["logits"])
            labels.append(batch.y)
        if logits and self._old.size:
            z = mask_units(np.concatenate(logits), c.seen).astype(np.float64)
            self.correction = fit_bias(z, np.concatenate(labels), self._newest)
        return ()

    def scores(self, outs: Mapping[str, Array], seen_units: Array | None = None) -> Array:
        return mask_units(_corrected(outs["logits"], self.correction, self._newest), seen_units)

    def linear_head(self, own: LinearHead | None) -> LinearHead | None:
        if own is None:
            return None
        weight, bias, inside = own.weight.copy(), own.bias.copy(), self._newest[self._newest < len(own.weight)]
        weight[inside] *= self.correction[0]
        bias[inside] = self.correction[0] * bias[inside] + self.correction[1]
        return replace(own, weight=weight, bias=bias)

    def state(self) -> dict[str, Array]:
        (scale, shift), units = self._of_teacher
        return {
            "old": self._old.copy(),
            "newest": self._newest.copy(),
            "correction": np.array(self.correction),
            "teacher_correction": np.array([scale, shift]),
            "teacher_units": units.copy(),
        }

    def load(self, state: Mapping[str, Array]) -> None:
        self._old, self._newest = (np.array(state[k], np.int64) for k in ("old", "newest"))
        self.correction = float(state["correction"][0]), float(state["correction"][1])
        scale, shift = (float(v) for v in state["teacher_correction"])
        self._of_teacher = (scale, shift), np.array(state["teacher_units"], np.int64)

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return False  # the teacher learned from the subject as the weights did


def _corrected(logits: Array, correction: tuple[float, float], units: Array) -> Array:
    """A copy with s z + b at ``units``."""
    found, inside = logits.copy(), units[units < logits.shape[1]]
    found[:, inside] = np.float32(correction[0]) * found[:, inside] + np.float32(correction[1])
    return found


def fit_bias(logits: Array, y: Array, units: Array, steps: int = 100) -> tuple[float, float]:
    """(s, b) that minimise the mean cross-entropy of logits [n, C] with s z_c + b at ``units``: Newton's method.

    The loss is convex in (s, b). Each step is halved until the loss falls, and they end where the next one promises
    less than rounding; (1, 0) where the rows tell nothing.
    """
    inside = np.zeros(logits.shape[1], bool)
    inside[units] = True
    at = np.array([1.0, 0.0])

    def loss(p: Array) -> float:
        z = np.where(inside, p[0] * np.where(inside, logits, 0) + p[1], logits)
        return float(-log_softmax(z)[np.arange(len(y)), y].mean())

    z = np.where(inside, logits, 0.0)
    own = np.where(np.isin(y, units), z[np.arange(len(y)), y], 0.0), np.isin(y, units).astype(float)
    now = loss(at)
    for _ in range(steps):
        p = np.exp(log_softmax(np.where(inside, at[0] * z + at[1], logits)))[:, inside]
        zi = z[:, inside]
        mean_z, mass = (p * zi).sum(axis=1), p.sum(axis=1)
        gradient = np.array([(mean_z - own[0]).mean(), (mass - own[1]).mean()])
        cross = ((p * zi).sum(axis=1) - mean_z * mass).mean()
        hessian = np.array([[((p * zi**2).sum(axis=1) - mean_z**2).mean(), cross], [cross, (mass - mass**2).mean()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        size = 1.0
        if 0.5 * gradient @ step < 1e-12 * max(now, 1.0):  # the fall of the loss that this step promises
            break
        while size > 1e-6 and loss(at - size * step) > now:
            size /= 2
        if size <= 1e-6 or np.abs(size * step).max() < 1e-10:
            break
        at = at - size * step
        now = loss(at)
    return (float(at[0]), float(at[1])) if np.isfinite(at).all() else (1.0, 0.0)
