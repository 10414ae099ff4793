"""SNIP (Lee et al. 2019): once, before the first task, the weights with the largest |w * gradient| are kept."""

import numpy as np

from edgecl.errors import BadInput
from edgecl.methods import cross_entropy
from edgecl.options import option
from edgecl.parsing import count
from edgecl.sparsity import Change, Moves, SparsityPolicy, exact_count, top_k


class SNIP(SparsityPolicy):
    """The network is dense until then, so a plan has room for it dense. Each tensor has a threshold of its own: at high
    sparsity one for all empties layers. It has seen the first task's classes only.
    """

    name = "snip"
    contract = 1
    rows = 32

    batches: int = option(4, count(1), "mini-batches of the first task that the gradient is taken over")

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self._scored = False

    def check(self, epochs, steps):
        if epochs is None and steps is None:
            raise BadInput("SNIP scores weights before the first task, and this stream has none.", "Use another mask.")

    def start_density(self, density):
        return 1.0

    def begin_task(self, c):
        if self._scored:
            return ()
        engine, rows = c.engine, min(self.rows, c.engine.plan.batch)
        for batch in c.task_samples(rows, limit=rows * self.batches):
            logits = engine.forward({engine.model.graph.input: batch.x}, training=True)["logits"]
            engine.backward({"logits": cross_entropy(logits, batch.y)[1]})  # adds to the gradients of those before
        scores = {n: t.values * engine.gradients[n] for n, t in c.tensors.items()}
        engine.discard()
        for name, t in c.tensors.items():
            score = scores.pop(name)
            kept = top_k(np.abs(score, out=score), exact_count(t.density, t.size))
            c.apply(Moves({name: Change(t.density, kept=kept)}))
        self._scored = True
        return ()

    def kept_bytes(self, tensors):
        return 1

    def moving_bytes(self, tensors):
        return sum(4 * t.size for t in tensors.values()) + 2 * max(t.size for t in tensors.values())

    def state(self):
        return {"scored": np.array([self._scored], np.uint8)}

    def load(self, state):
        self._scored = bool(np.array(state["scored"]).any())
