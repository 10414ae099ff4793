"""Small methods that use what no method of ours asks for: merged batches with holdout, candidates, accept with scores,
phases that mix, reset and train on memory, a phase at the end of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecl.methods import ER, Method, Naive, Needs, cross_entropy
from edgecl.methods.losses import log_softmax
from edgecl.methods.needs import Passes
from edgecl.methods.phase import Mix, Phase, constant, cosine
from edgecl.options import option
from edgecl.parsing import count


def losses(logits, y):
    return -log_softmax(logits)[np.arange(len(y)), y]


class BiasCorrected(ER):
    """BiC's correction: scale and shift of a task's new units, fitted on rows that nothing was trained on."""

    name = "bias-corrected"
    contract = 1

    def __init__(self, **given):
        super().__init__(**given)
        self.scale, self.shift, self.new = np.ones(1), np.zeros(1), np.zeros(0, np.int64)

    @property
    def needs(self):
        return Needs(merged=True, holdout=0.3, sides=("old",), passes=Passes(forward=1.0))

    def begin_task(self, c):
        c.engine.side("old").copy_from(c.engine.model)
        return ()

    def train_step(self, c, batch, replay, lr, **how):
        drawn = [d for d in replay if len(d)]
        rows = np.concatenate([batch.x, *(d.x for d in drawn)])
        old = c.evaluate(rows, side="old")["logits"]
        ends = np.cumsum([len(batch), *(len(d) for d in drawn)])
        batch = replace(batch, extra={"old": old[: ends[0]]})
        drawn = [replace(d, extra={"old": old[a:b]}) for d, a, b in zip(drawn, ends, ends[1:])]
        return super().train_step(c, batch, drawn, lr, **how)

    def pull(self, logits, part, count):
        """Towards what the network said before this task."""
        wanted = np.exp(log_softmax(part.extra["old"]))
        return cross_entropy(logits, wanted, weight=np.full(len(part), 0.1), count=count)

    def current_term(self, logits, part, whole):
        (a, one), (b, two) = super().current_term(logits, part, whole), self.pull(logits, part, max(len(whole), 1))
        return a + b, one + two

    def replay_term(self, j, logits, part, whole, batch):
        (a, one), (b, two) = super().replay_term(j, logits, part, whole, batch), self.pull(logits, part, len(whole))
        return a + b, one + two

    def end_task(self, c):
        self.scale, self.shift, self.new = np.ones(1), np.zeros(1), np.asarray(c.task.units)
        kept = [(c.evaluate(b.x)["logits"].astype(np.float64), b.y) for b in c.holdout(4)]
        for _ in range(20 if kept else 0):
            slope = np.zeros(2)
            for logits, y in kept:
                gap = np.exp(log_softmax(self.corrected(logits)))
                gap[np.arange(len(y)), y] -= 1
                slope += [(gap[:, self.new] * logits[:, self.new]).sum(), gap[:, self.new].sum()]
            self.scale, self.shift = self.scale - 0.01 * slope[0], self.shift - 0.01 * slope[1]
        return ()

    def corrected(self, logits):
        out = logits.copy()
        new = self.new[self.new < out.shape[1]]
        out[:, new] = out[:, new] * self.scale + self.shift
        return out

    def scores(self, outs, seen_units=None):
        return super().scores({**outs, "logits": self.corrected(outs["logits"]).astype(np.float32)}, seen_units)

    def state(self):
        return {"scale": self.scale, "shift": self.shift, "new": self.new}

    def load(self, state):
        self.scale, self.shift = np.array(state["scale"]), np.array(state["shift"])
        self.new = np.array(state["new"], np.int64)


class MostInterfered(ER):
    """MIR: of the candidates those whose loss rises most by a step on the current batch that is not taken."""

    name = "most-interfered"
    contract = 1

    count: int = option(10, count(1), "candidates a step")
    lr = 0.0

    @property
    def needs(self):
        return Needs(draws=1, candidates=self.count, sides=("virtual",), passes=Passes(candidates=2.0))

    def train_step(self, c, batch, replay, lr, **how):
        self.lr = lr  # for `choose`
        return super().train_step(c, batch, replay, lr, **how)

    def choose(self, c, batch, candidates):
        c.engine.side("virtual").virtual(self.lr)
        now, then = (c.evaluate(candidates.x, side=side)["logits"] for side in (None, "virtual"))
        rise = losses(then, candidates.y) - losses(now, candidates.y)
        return np.argsort(-rise, kind="stable")[: len(batch)]


class Picky(ER):
    """Offers only the rows that are easier than most so far, with their loss as score (ESMER, Rainbow Memory)."""

    name = "picky"
    contract = 1
    mean = 0.0

    @property
    def needs(self):
        return Needs(draws=1, fields=())

    def accept(self, c, batch, result):
        found = losses(result.logits_current, batch.y)
        self.mean = 0.9 * self.mean + 0.1 * float(found.mean()) if self.mean else float(found.mean())
        rows = np.flatnonzero(found <= self.mean)
        return rows, found[rows]

    def state(self):
        return {"mean": np.array([self.mean])}

    def load(self, state):
        self.mean = float(state["mean"][0])


class Phased(ER):
    """Phases of every kind: the head alone before a task; afterwards all of it anew from memory with mixed samples."""

    name = "phased"
    contract = 1

    @property
    def needs(self):
        return Needs(draws=1, passes=Passes(epochs=4.0))

    def begin_task(self, c):
        graph = c.engine.model.graph
        head = next(n.parameters for n in graph.nodes if n.output == graph.logits)
        return [Phase("both", epochs=1, only=tuple(head), lr=constant(0.02))]

    def end_task(self, c):
        mixes = [Mix("mixup", 1.0, 1.0), Mix("cutmix", 1.0, 0.7)]
        first = Phase("memory", steps=3, reset=("*",) if c.task.number == 1 else (), mix=mixes[c.task.number % 2])
        return [first, Phase("task", steps=2, lr=cosine(0.05))]


class AtTheEnd(Naive):
    """GDumb in small: trains from memory, from scratch, when all is over."""

    name = "at-the-end"
    contract = 1

    @property
    def needs(self):
        return Needs(draws=1, passes=Passes(final_memory_epochs=3.0))

    def replay_term(self, j, logits, part, whole, batch):
        return 0.0, np.zeros_like(logits)

    def finish(self, c):
        return [Phase("memory", epochs=3, reset=("*",), lr=cosine(0.1))]


ALL: tuple[type[Method], ...] = (BiasCorrected, MostInterfered, Picky, Phased, AtTheEnd)
