"""RigL (Evci et al. 2020) as somebody outside would write it, with one threshold for all tensors together."""

import numpy as np

from edgecl.errors import BadInput
from edgecl.options import option
from edgecl.parsing import count, fraction
from edgecl.sparsity import NOTHING, Change, Dense, Moves, SparsityPolicy, drop_lowest, exact_count, top_k


class RigLOutside(SparsityPolicy):
    """The network's dead weights with the largest gradients come, and each tensor gives up as many as it gets."""

    name = "rigl-outside"
    contract = 1

    share: float = option(0.2, fraction(True, True), "share of the living weights exchanged, falling to 0 in a task")
    every: int = option(20, count(1), "steps between exchanges")

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self.looks = (Dense(top=self.share),)

    def check(self, epochs, steps):
        if steps is not None and steps <= self.every:
            raise BadInput(
                f"rigl-outside exchanges every {self.every} steps, a task has {steps}.", "Set a smaller 'every'."
            )

    def can_move(self, tensor):
        return exact_count(self.share, tensor.count) >= 1 and tensor.count > 1

    def _share(self, step, steps):
        due = step > 0 and step % self.every == 0 and (steps is None or step < steps)
        return 0.0 if not due else self.share * (1.0 if steps is None else 1 - step / steps)

    def look(self, info):
        share = self._share(info.step + 1, info.steps)
        return Dense(top=share) if share else NOTHING

    def move(self, tensors, evidence, info, rng):
        share = self._share(info.step, info.steps)
        if not share:
            return None
        found = {n: e.dead for n, e in evidence.items() if e.dead is not None}
        if not found:
            return Moves()
        # The best dead weights of the whole network come, and each tensor gives up as many as it gets.
        total = sum(exact_count(share, tensors[n].living) for n in found)
        owner = np.concatenate([np.full(c.scores.size, i) for i, c in enumerate(found.values())])
        best = top_k(np.concatenate([c.scores for c in found.values()]), total)
        first, changes = 0, {}
        for i, (name, c) in enumerate(found.items()):
            chosen = best[owner[best] == i] - first
            first += c.scores.size
            t = tensors[name]
            count = min(chosen.size, t.living - 1)
            if count:
                grown = c.positions[chosen[top_k(c.scores[chosen], count)]]
                dropped, _ = drop_lowest(t, abs(t.values), t.living - count)
                changes[name] = Change(t.living / t.size, dropped=dropped, grown=grown)
        return Moves(changes)
