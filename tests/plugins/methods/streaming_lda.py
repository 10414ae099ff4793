"""Streaming linear discriminant analysis (Hayes & Kanan, CVPR-W 2020) on the body that the first task left."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecl.methods import Method, Needs, StepResult
from edgecl.options import option
from edgecl.parsing import fraction


class StreamingLDA(Method):
    """One mean a class and one covariance of all, a sample at a time; no gradient after the first task.

    D = (f - mu_y)(f - mu_y)^T n/(n + 1), S <- (n S + D)/(n + 1); the score of a class is w.f + b with
    w = ((1 - e) S + e trace(S)/d I)^-1 mu, b = -mu.w/2. The first sample of a class only sets its mean.
    """

    name: ClassVar[str] = "slda-outside"
    contract: ClassVar[int] = 1

    shrink: float = option(1e-4, fraction(True, True), "share of the covariance that is a multiple of the identity")

    def __init__(self, **given):
        super().__init__(**given)
        self.sums = None  # (S [d, d], mu [C, d], samples of each class [C]), float64, replaced as a whole
        self.solved = None  # (sums, w, b) of the latest prediction

    @property
    def needs(self):
        def held(features, classes):  # S four times where a prediction solves for w, three where samples are added
            return 8 * (4 * features**2 + 3 * features * classes + 2 * classes)

        return Needs(
            trains="none", body="first task", fetch=("features",), predict=("features",), statistics=held,
        )  # fmt: skip

    def add(self, c, x, y):
        """Take samples into the sums; their logits by the head of the first task."""
        outs = c.evaluate(x, ("logits", "features"))
        features = outs["features"].reshape(len(x), -1).astype(np.float64)
        classes, d = outs["logits"].shape[1], features.shape[1]
        old = self.sums or (np.zeros((d, d)), np.zeros((classes, d)), np.zeros(classes))
        s, more = old[0].copy(), classes - len(old[2])
        mu, counts = np.pad(old[1], ((0, more), (0, 0))), np.pad(old[2], (0, more))
        for f, unit in zip(features, y):
            n = counts.sum()
            if counts[unit]:
                away = f - mu[unit]
                s *= n / (n + 1)
                s += np.outer(away * (n / (n + 1) ** 2), away)
            counts[unit] += 1
            mu[unit] += (f - mu[unit]) / counts[unit]
        self.sums = s, mu, counts
        return outs

    def train_step(self, c, batch, replay, lr, *, micro_batch=None, before_step=None):
        outs = self.add(c, batch.x, batch.y)
        return StepResult(0.0, outs["logits"], [], len(batch), {}, None, {"features": outs["features"]})

    def end_task(self, c):
        if c.task.first:  # its body is there only now
            for part in c.task_samples(32):
                self.add(c, part.x, part.y)
        return ()

    def scores(self, outs, seen_units=None):
        sums, solved = self.sums, self.solved
        found = np.full(outs["logits"].shape, -np.inf, np.float32)
        if sums is None:
            return found
        if solved is None or solved[0] is not sums:
            s, mu, _ = sums
            factor = (1 - self.shrink) * s
            factor.flat[:: len(s) + 1] += self.shrink * np.trace(s) / len(s) + 1e-12
            factor = np.linalg.cholesky(factor)
            w = np.linalg.solve(factor.T, np.linalg.solve(factor, mu.T))
            self.solved = solved = sums, w, -0.5 * (mu.T * w).sum(axis=0)
        _, w, b = solved
        units = np.flatnonzero(sums[2][: found.shape[1]])
        if seen_units is not None:
            units = units[seen_units[units]]
        features = outs["features"].reshape(len(found), -1)
        found[:, units] = features @ w[:, units] + b[units]
        return found

    def state(self):
        if self.sums is None:
            return {}
        s, mu, counts = self.sums
        return {"s": s[np.tril_indices(len(s))], "mu": mu, "counts": counts}

    def load(self, state):
        self.sums = self.solved = None
        if state:
            mu, counts = np.array(state["mu"]), np.array(state["counts"])
            s = np.zeros((mu.shape[1],) * 2)
            s[np.tril_indices(len(s))] = state["s"]
            self.sums = s + np.tril(s, -1).T, mu, counts
