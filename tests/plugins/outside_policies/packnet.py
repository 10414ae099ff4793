"""PackNet (Mallya & Lazebnik 2018): every task owns a share of the weights, and nobody else changes them."""

import numpy as np

from edgecl.errors import BadInput
from edgecl.sparsity import Change, Moves, Phase, SparsityPolicy, exact_count, top_k


class PackNet(SparsityPolicy):
    """retrain : epochs on the task's own weights after the others were pruned; 0 is none

    A task trains all weights that nobody owns, keeps the largest of them, the target density's share of the tensor, and
    drops the rest. What is not sparse is frozen after the first task, the classifier but for the rows of the task's
    classes. A prediction for a task uses the weights owned by then, so nothing is forgotten; it must name the task.
    """

    name = "packnet"
    contract = 1

    def __init__(self, *, retrain: int = 1) -> None:
        self.retrain = retrain
        self._owner = {}  # uint8 [size] by tensor: 0 nobody's, t + 1 the t-th task's
        self._tasks = 0

    def options(self):
        return {"retrain": self.retrain}

    def check(self, epochs, steps):
        if epochs is None and steps is None:
            raise BadInput("PackNet gives weights to tasks, and this stream has none.", "Use another mask.")

    def start_density(self, density):
        return 1.0

    def training_density(self, density):
        return 1.0

    def final_density(self, density, task):
        return min(1.0, (task + 1) * density)

    def kept_bytes(self, tensors):
        return sum(t.size * (1 + 8) for t in tensors.values())  # the owner, and two index arrays of what trains

    def begin_task(self, c):
        if c.task.number is None:
            raise BadInput("PackNet gives weights to tasks, and this stream has none.", "Use another mask.")
        for name, t in c.tensors.items():
            self._owner.setdefault(name, np.zeros(t.size, np.uint8))
        size = sum(t.size for t in c.tensors.values())
        free = sum(np.count_nonzero(self._owner[n] == 0) for n in c.tensors)
        wanted = sum(t.count for t in c.tensors.values())
        if free < 0.99 * wanted or self._tasks == 255:
            raise BadInput(
                f"PackNet's capacity has ended after {self._tasks} tasks: {free / size:.1%} of the weights are nobody's, "
                f"a task takes {wanted / size:.1%}.",
                "Use a higher sparsity or a larger network from the start.",
            )
        changes, trains = {}, self._head(c)
        for name, t in c.tensors.items():
            unowned = np.flatnonzero(self._owner[name] == 0).astype(np.int32)
            trains[name] = unowned if unowned.size < t.size else None
            if t.pattern is not None:
                changes[name] = Change(1.0, grown=np.setdiff1d(unowned, t.pattern).astype(np.int32))
        parameters = c.engine.model.graph.parameters
        others = () if c.task.first else tuple(n for n in parameters if n not in c.tensors and n not in self._head(c))
        c.apply(Moves(changes, freeze=others, trains=trains))
        return ()

    def end_task(self, c):
        self._tasks += 1
        changes, trains = {}, {}
        for name, t in c.tensors.items():
            owner = self._owner[name]
            share = self.final_density(t.density, self._tasks - 1)
            unowned = np.flatnonzero(owner == 0).astype(np.int32)
            weights = np.abs(t.values[owner[t.positions()] == 0])
            owned = t.size - unowned.size
            mine = unowned[top_k(weights, exact_count(share, t.size) - owned)]
            owner[mine] = self._tasks
            changes[name] = Change(share, kept=np.flatnonzero(owner).astype(np.int32))
            trains[name] = mine
        c.apply(Moves(changes, trains=trains))
        return [Phase("task", epochs=self.retrain)] if self.retrain else []

    def patterns_at(self, task):
        found = {}
        for name, owner in self._owner.items():
            found[name] = np.flatnonzero((owner > 0) & (owner <= task + 1)).astype(np.int32)
        return found if task < self._tasks else None

    @staticmethod
    def _head(c):
        """Positions of the task's rows in weight and bias of the classifier."""
        graph = c.engine.model.graph
        head = next(n for n in reversed(graph.nodes) if n.op == "linear")
        found = {}
        for name in head.parameters:
            per_row = int(np.prod(graph.parameters[name].shape[1:]))
            rows = np.sort(np.asarray(c.task.units))
            found[name] = (rows[:, None] * per_row + np.arange(per_row)).reshape(-1).astype(np.int32)
        return found

    def state(self):
        return {"tasks": np.array([self._tasks], np.int64), **{f"owner/{n}": a for n, a in self._owner.items()}}

    def load(self, state):
        self._tasks = int(state["tasks"][0])
        self._owner = {k[6:]: np.array(a, np.uint8) for k, a in state.items() if k.startswith("owner/")}
