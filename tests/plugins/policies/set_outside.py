"""SET (Mocanu et al. 2018) as somebody outside would write it: smallest |w| leave, random weights come."""

from edgecl.errors import BadInput
from edgecl.options import option
from edgecl.parsing import count, fraction
from edgecl.sparsity import Move, Moves, SparsityPolicy, exact_count, exchange


class SETOutside(SparsityPolicy):
    """Drops the smallest weights of each tensor and grows as many at random."""

    name = "set-outside"
    contract = 1

    share: float = option(0.3, fraction(True, True), "share of the living weights exchanged")
    every: int = option(20, count(1), "steps between exchanges")

    def check(self, epochs, steps):
        if steps is not None and steps <= self.every:
            raise BadInput(
                f"set-outside exchanges every {self.every} steps, a task has {steps}.", "Set a smaller 'every'."
            )

    def can_move(self, tensor):
        return exact_count((1 - self.share) * tensor.density, tensor.size) < tensor.count

    def move(self, tensors, evidence, info, rng):
        if not info.step or info.step % self.every:
            return None
        changes = {}
        for name, t in tensors.items():
            move = Move(drop_to=(1 - self.share) * t.density, grow_to=t.density)
            change = exchange(t, move, lambda t=t: abs(t.values), rng)
            if change is not None:
                changes[name] = change
        return Moves(changes)
