"""A method of one's own, beside experience replay: both learn four classes, two at a time, with the same memory.

`SlowER` keeps a copy of the weights as they were when the task began, and pulls predictions towards what it said.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecl import Learner
from edgecl.methods import ER, METHODS, Needs, cross_entropy
from edgecl.methods.losses import log_softmax
from edgecl.methods.needs import Passes
from edgecl.options import option
from edgecl.parsing import real


@METHODS.register
class SlowER(ER):
    """Experience replay that also learns what the network said of current samples before this task."""

    name, contract = "slow-er", 1
    pull: float = option(0.5, real(0.0), "weight of what the network said before")

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, sides=("old",), passes=Passes(forward=1.0))

    def begin_task(self, c):
        c.engine.side("old").copy_from(c.engine.model)
        return ()

    def prepare(self, c, batch, replay):
        return replace(batch, extra={"old": c.evaluate(batch.x, side="old")["logits"]}), replay

    def current_term(self, logits, part, whole):
        value, grad = super().current_term(logits, part, whole)
        said = np.exp(log_softmax(part.extra["old"]))
        weight = np.full(len(part), self.pull)
        more, slope = cross_entropy(logits, said, weight=weight, count=len(whole))
        return value + more, grad + slope


def samples(unit: int, count: int, seed: int) -> np.ndarray:
    """uint8 [count, 1, 10, 10]: one bright row a class."""
    x = np.random.default_rng([seed, unit]).integers(0, 160, (count, 1, 10, 10))
    x[:, 0, 2 * unit] += 40
    return x.astype(np.uint8)


def main() -> None:
    for method in (ER(), SlowER(pull=0.2)):
        with Learner("mlp", input_shape=(1, 10, 10), method=method, memory=8, batch=8, seed=1) as learner:
            for task in ((0, 1), (2, 3)):
                for unit in task:
                    learner.observe(samples(unit, 40, seed=0), unit)
                learner.learn(epochs=6)
                learner.end_task()
            right = sum(learner.predict(samples(u, 25, seed=9)).count(u) for u in range(4))
        print(f"{method.name}: {right} of 100 right")


if __name__ == "__main__":
    main()
