"""BoundNetwork: the kernels' network over the arrays of parameters, and evaluation forwards over it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _kernels
from ..compiler import Plan
from ..compiler.direct import DIRECT
from ..compiler.operations import dilation, geometry, weight_nodes
from ..errors import EdgeclError
from ..graph.freeze import keeps_statistics
from .flop_counter import FlopCounter
from .model import Parameter
from .sides import Side

Array = np.ndarray


class BoundNetwork:
    """Index lists and normalisations over arrays that belong to Python; lists are rebuilt where asked.

    planes : by layer, of its input and of its output gradient (None: no list goes back through it)
    """

    def __init__(self, plan: Plan, planes: Mapping[str, Sequence[Any]], threads: int) -> None:
        graph = plan.graph
        self._planes, self._blocking, self._direct = planes, plan.program["blocking"], plan.program["direct"]
        self.weights = weight_nodes(graph)
        self._tensors = plan.program.get("tensors", ())
        self._norms = [n for n in graph.nodes if n.op in ("batch_norm", "group_norm")]
        self.kernels = _kernels.Network(threads, plan.program["lanes"])
        for node in self.weights:
            self.kernels.add_weight([*geometry(graph, node), *dilation(node), node.op == "conv_transpose2d"])
        for node in self._norms:
            self.kernels.add_norm(
                graph.shapes[node.output][0],
                node.attributes.get("groups", 0),
                node.attributes["eps"],
                node.attributes.get("momentum", 0.0),
                keeps_statistics(graph, node),
            )

    def bind(
        self,
        parameters: Mapping[str, Parameter],
        gradient: Callable[[str], Array | None],
        stale: Collection[str],
        subsets: Collection[str] = (),
    ) -> None:
        """Every array again. Lists of ``stale`` weights are rebuilt, of ``subsets`` those for the gradient."""
        for i, node in enumerate(self.weights):
            name = node.parameters[0]
            p = parameters[name]
            own = len(node.parameters) > 1 and node.op in ("conv2d", "linear")  # others' are tensors of their own
            bias = parameters[node.parameters[1]].values if own else None
            if name in stale:
                x, dy = self._planes[node.name]
                if node.op == "conv_transpose2d":  # its input is the gradient of a convolution
                    x, dy = dy or x, x
                blocks, direct = self._blocking[node.name], self._direct and node.op in DIRECT
                self.kernels.build_weight(i, p.values, gradient(name), bias, p.pattern, x, dy, blocks, direct)
            else:
                self.kernels.rebind_weight(i, p.values, gradient(name), bias, p.pattern)
            if name in stale or name in subsets:
                self.kernels.set_subset(i, p.gradient_subset, p.frozen)
        for i, node in enumerate(self._norms):
            names = node.parameters
            statistics = [parameters[n] for n in names[2:4]]
            mean, var = (p.values for p in statistics) if statistics else (None, None)
            self.kernels.bind_norm(
                i,
                parameters[names[0]].values,
                parameters[names[1]].values,
                mean,
                var,
                gradient(names[0]),
                gradient(names[1]),
                [p.frozen for p in statistics] or [False, False],
            )
        tensors = [parameters[n] for n in self._tensors]
        self.kernels.set_tensors(
            [p.values for p in tensors],
            [gradient(p.spec.name) if p.spec.trained else None for p in tensors],
            [p.frozen for p in tensors],
        )


def open_session(plan: Plan, network: BoundNetwork, entry: str, own_threads: int) -> tuple[Any, Any]:
    """A session of one entry point of the plan, with its arena, and the feed of its samples.

    own_threads : of a session that runs beside others;  0: it takes the network's
    """
    e = plan.program[entry]
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    if e["arena_bytes"] > there:
        what = f"A step of batch {plan.batch:,} takes {e['arena_bytes']:,} bytes; this machine has {there:,}."
        raise EdgeclError(what, "Use a smaller batch, replay_batch or network.")
    node = next(n for n in plan.graph.nodes if n.op == "normalise")
    feed = _kernels.Feed(
        e["feed"],
        [float(m) for m in node.attributes["mean"]],
        [1.0 / float(s) for s in node.attributes["std"]],
        int(node.attributes.get("pad", 0)),
    )
    session = _kernels.Session(
        network.kernels, e["blocks"], e["arena_bytes"], e["maps"], e["forward"], e["backward"], own_threads
    )
    return session, feed


class Evaluator:
    """Evaluation forwards in the plan's one prediction arena: of the model, or of a side by lists of its own.

    The caller keeps others out meanwhile.
    """

    def __init__(self, plan: Plan, network: BoundNetwork) -> None:
        self._plan, self._network = plan, network
        self._opened: tuple[Any, Any] | None = None
        self._sides: dict[str, tuple[BoundNetwork, FlopCounter]] = {}

    def run(self, x: Array, tensors: Sequence[str], side: Side | None = None) -> dict[str, Array]:
        """Tensors, float32 [B, ...], of at most the planned number of samples."""
        session, feed = self._open()
        network = self._network if side is None else self._bound(side)[0]
        graph, indices = self._plan.graph, self._plan.program["predict"]["fetch"]
        found: dict[str, Array] = {}
        for tensor in tensors:
            shape = (len(x), *graph.shapes[tensor])
            if found:
                found[tensor] = session.fetch(indices[tensor], shape)
            else:
                values = session.predict(network.kernels, feed, x, indices[tensor], math.prod(shape[1:]))
                found[tensor] = np.asarray(values).reshape(shape)
        if not tensors:
            session.evaluate(network.kernels, feed, x)
        if side is not None and graph.logits in found:
            side.blank(found[graph.logits])
        return found

    def _open(self) -> tuple[Any, Any]:
        """The session, opened when first needed: who only trains needs no arena for predictions."""
        if self._opened is None:
            plan = self._plan
            threads = plan.threads if plan.extras.trains == "none" else 1  # a learner's are its training's
            self._opened = open_session(plan, self._network, "predict", own_threads=threads)
        return self._opened

    def poison(self) -> None:
        """Fill the arena with NaN (tests)."""
        self._open()[0].poison()

    def counter(self, side: Side) -> FlopCounter:
        """Of what a forward with this side executes."""
        return self._bound(side)[1]

    def side_bytes(self) -> int:
        """Bytes of the sides' lists."""
        return sum(network.kernels.kernel_bytes() for network, _ in self._sides.values())

    def _bound(self, side: Side) -> tuple[BoundNetwork, FlopCounter]:
        """The side's lists, brought up to what it holds."""
        made = self._sides.get(side.name)
        if made is None:
            planes = {n: (x, None) for n, (x, _) in self._plan.program["predict"]["planes"].items()}
            network = BoundNetwork(self._plan, planes, threads=1)
            made = network, FlopCounter(side, self._plan.graph, self._plan.program["lanes"], ())
            side.moved = {n.parameters[0] for n in network.weights}
            self._sides[side.name] = made
        network, counter = made
        if side.moved:
            network.bind(side.parameters, lambda name: None, side.moved)
            for name in side.moved:
                counter.forget(name)
        if side.written:
            network.kernels.refresh()
        side.moved, side.written = set(), False
        return made
