"""PackNet (Mallya & Lazebnik 2018): every task owns a share of the weights, and nobody else changes them."""

import numpy as np

from edgecl.errors import BadInput
from edgecl.options import option
from edgecl.parsing import count
from edgecl.sparsity import Change, Moves, Phase, SparsityPolicy, exact_count, positions_of, top_k


class PackNet(SparsityPolicy):
    """A task trains all weights that nobody owns, keeps the largest of them, the target density's share of the tensor,
    and drops the rest. What is not sparse is frozen after the first task, the classifier but for the rows of the task's
    classes. A prediction for a task uses the weights owned by then, so nothing is forgotten; it must name the task.
    """

    name = "packnet"
    contract = 1

    retrain: int = option(1, count(), "epochs on a task's own weights after the others were pruned")

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self._owner = {}  # uint8 [size] by tensor: 0 nobody's, t + 1 the t-th task's
        self._tasks = 0

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

    def moving_bytes(self, tensors):
        return 8 * max(t.size for t in tensors.values())

    def begin_task(self, c):
        if c.task.number is None:
            raise BadInput("PackNet gives weights to tasks, and this stream has none.", "Use another mask.")
        for name, t in c.tensors.items():
            self._owner.setdefault(name, np.zeros(t.size, np.uint8))
        self._refuse_without_room(c.tensors)
        head = self._head(c)
        others = () if c.task.first else tuple(n for n in c.engine.model.graph.parameters if n not in c.tensors)
        c.apply(Moves(freeze=tuple(n for n in others if n not in head), trains=head))
        for name in c.tensors if self._tasks else ():
            unowned = positions_of(self._owner[name] == 0)
            c.apply(Moves({name: Change(1.0, grown=unowned)}, trains={name: unowned}))
        return ()

    def _refuse_without_room(self, tensors):
        size = sum(t.size for t in tensors.values())
        free = sum(np.count_nonzero(self._owner[n] == 0) for n in tensors)
        wanted = sum(t.count for t in tensors.values())
        if free < 0.99 * wanted or self._tasks == 255:
            raise BadInput(
                f"PackNet's capacity has ended after {self._tasks} tasks: {free / size:.1%} of the weights are "
                f"nobody's, a task takes {wanted / size:.1%}.",
                "Use a higher sparsity or a larger network from the start.",
            )

    def end_task(self, c):
        self._tasks += 1
        for name, t in c.tensors.items():
            owner = self._owner[name]
            share = self.final_density(t.density, self._tasks - 1)
            magnitude = np.abs(t.values)  # every weight lives now
            magnitude[owner > 0] = -1
            mine = top_k(magnitude, exact_count(share, t.size) - np.count_nonzero(owner))
            del magnitude
            owner[mine] = self._tasks
            c.apply(Moves({name: Change(share, kept=positions_of(owner > 0))}, trains={name: mine}))
        return [Phase("task", epochs=self.retrain)] if self.retrain else []

    def patterns_at(self, task):
        found = {}
        for name, owner in self._owner.items():
            found[name] = positions_of((owner > 0) & (owner <= task + 1))
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
