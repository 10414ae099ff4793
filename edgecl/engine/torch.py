"""TorchEngine: the engine contract on torch autograd, one twin per operator. The oracle of the tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..compiler import Plan, weight_costs
from ..errors import BadInput, require, unknown_name
from ..graph import Graph, Node, operator
from ..graph.ops.dropout import draw_mask
from .base import Meters
from .gradients import FlatGradients
from .model import Model, Parameter
from .optimizer import check_optimizer, update

Array = np.ndarray

# Largest block handed to a `visit_dense_gradients` callback, in weights.
VISIT_WEIGHTS = 65536


@dataclass
class _Tape:
    """What `backward` needs of the latest training forward."""

    tensors: dict[str, Any]  # torch tensors by name, inside the autograd graph
    leaves: dict[str, Any]  # dense torch tensors of trained parameters
    nodes: list[Node]  # those that ran, in order
    fetched: tuple[str, ...]
    samples: int


class TorchEngine:
    """See `Engine`. Inside torch every tensor is dense; the model's arrays hold living weights only.

    plan  : its ``graph``, ``batch``, ``predict_batch``, ``optimizer`` and ``threads`` are used, no program
    rng   : draws dropout masks, in graph order; whoever owns it saves it
    dtype : ``float32``, or ``float64`` for gradient checks (fetched arrays and gradients are then float64)

    An evaluation forward, or one with ``params``, does not disturb the tape of the latest training forward.
    """

    def __init__(
        self, model: Model, plan: Plan, rng: np.random.Generator | None = None, dtype: str = "float32"
    ) -> None:
        self._torch = require("torch", "torch")
        self._dtype = {"float32": self._torch.float32, "float64": self._torch.float64}[dtype]
        self.model = model
        self.meters = Meters()
        self.rng = rng if rng is not None else np.random.default_rng(0)
        self.gradients = FlatGradients(model, np.float64 if dtype == "float64" else np.float32)
        self._change = threading.RLock()  # held by predictors and by whatever changes the weights
        self._tape: _Tape | None = None
        self._statistics: dict[str, Array] = {}  # running statistics not yet committed
        self._visit: tuple[tuple[str, ...], Callable[[str, range, Array], None]] | None = None
        self.replan(plan)

    def replan(self, plan: Plan) -> None:
        """Other batch, optimizer, threads, or a wider head; parameters stay. Uncommitted work is dropped."""
        check_optimizer(plan.optimizer)
        with self._change:
            if plan.graph is not self.model.graph:
                self.model.adopt(plan.graph, self.rng)
            self.plan = plan
            self._torch.set_num_threads(plan.threads)
            self._prepare()

    def _prepare(self) -> None:
        for p in self.model.parameters.values():
            if p.spec.trained:
                p.prepare_moments(self.plan.optimizer.moments())
        self._costs = {c.node: c for c in weight_costs(self._graph)}
        self.gradients.relayout()
        self._tape = None
        self._statistics = {}
        self._visit = None

    @property
    def _graph(self) -> Graph:
        return self.plan.graph

    # ---- forward
    def forward(
        self,
        feeds: Mapping[str, Array],
        fetch: Sequence[str] = ("logits",),
        training: bool = True,
        params: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Fetched tensors, float32 [B, ...]. ``params`` replaces the model's values by name for this call; it
        then leaves no tape and no statistics.
        """
        feeds, samples = self._check_feeds(feeds, self.plan.batch)
        values = {n: p.values for n, p in self.model.parameters.items()}
        if training and params is None:
            values.update(self._statistics)
        values.update(self._check_params(params or {}))
        keep = training and params is None
        leaves = {n: self._tensor(p, values[n], keep) for n, p in self.model.parameters.items()}
        with self._torch.set_grad_enabled(keep):
            tensors, nodes = self._run(feeds, leaves, training)
        names = tuple(self._graph.logits if n == "logits" else n for n in fetch)
        for name in names:
            if name not in tensors:
                raise unknown_name("tensor", name, tensors)
        if keep:
            self._statistics = {
                n: leaves[n].numpy().astype(np.float32)
                for n, p in self.model.parameters.items()
                if not p.spec.trained and not p.frozen
            }
            trained = {n: t for n, t in leaves.items() if t.requires_grad}
            self._tape = _Tape(tensors, trained, nodes, names, samples)
        for node in nodes:
            self._count(node, samples)
        self.meters.forwards += 1
        return {asked: tensors[n].detach().numpy().copy() for asked, n in zip(fetch, names)}

    def _run(
        self, feeds: Mapping[str, Array], leaves: Mapping[str, Any], training: bool
    ) -> tuple[dict[str, Any], list[Node]]:
        """Every tensor that follows from ``feeds``, and the nodes that ran."""
        tensors = {n: self._torch.from_numpy(np.ascontiguousarray(x)).to(self._dtype) for n, x in feeds.items()}
        ran = []
        for node in self._graph.nodes:
            if node.output in tensors or not all(i in tensors for i in node.inputs):
                continue
            inputs = [tensors[i] for i in node.inputs]
            params = {full.rpartition(".")[2]: leaves[full] for full in node.parameters}
            if node.op == "dropout" and training:
                keep = draw_mask(self.rng, tuple(inputs[0].shape), node.attributes["p"])
                params["keep"] = self._torch.from_numpy(keep).to(self._dtype)
            tensors[node.output] = operator(node.op, node.name).torch(inputs, params, node.attributes, training)
            ran.append(node)
        return tensors, ran

    def _tensor(self, p: Parameter, values: Array, keep: bool) -> Any:
        """The dense torch tensor of a parameter; statistics are copies, as torch updates them in place."""
        dense = self._torch.from_numpy(p.dense(values)).to(self._dtype)
        if not p.spec.trained:
            return dense.clone()
        return dense.requires_grad_() if keep else dense

    def _check_feeds(self, feeds: Mapping[str, Array], limit: int | None) -> tuple[dict[str, Array], int]:
        checked = {name: self._check_feed(name, np.asarray(x)) for name, x in feeds.items()}
        sizes = {len(x) for x in checked.values()}
        if len(sizes) != 1:
            raise BadInput(f"The feeds {sorted(feeds)} differ in batch size or are none.", "Feed one batch.")
        samples = sizes.pop()
        if samples == 0 and limit is not None:
            raise BadInput("The batch is empty.", "Feed at least one sample.")
        if limit is not None and samples > limit:
            raise BadInput(f"A batch of {samples} exceeds the planned {limit}.", "Plan a larger batch.")
        return checked, samples

    def _check_feed(self, name: str, x: Array) -> Array:
        graph = self._graph
        if name not in graph.shapes:
            raise unknown_name("tensor", name, graph.shapes)
        if x.ndim == 0 or x.shape[1:] != tuple(graph.shapes[name]):
            raise BadInput(
                f"Samples of shape {x.shape[1:]} do not fit '{name}' of '{graph.name}', "
                f"which takes {tuple(graph.shapes[name])}.",
                "Build the model for this stream.",
            )
        wanted = graph.input_dtype if name == graph.input else "float32"
        if x.dtype != np.dtype(wanted):
            raise BadInput(f"Samples are {x.dtype}, '{name}' takes {wanted}.", "Convert the samples.")
        return x

    def _check_params(self, params: Mapping[str, Array]) -> Mapping[str, Array]:
        for name, values in params.items():
            p = self._parameter(name)
            if values.shape != p.values.shape:
                raise BadInput(
                    f"The snapshot's '{name}' has {values.size} living weights, the model {p.living}.",
                    "Take a new snapshot after a change of pattern.",
                )
        return params

    # ---- backward
    def backward(self, seeds: Mapping[str, Array]) -> None:
        """Adds the gradients of the latest training forward, seeded at fetched tensors; once per forward."""
        tape, self._tape = self._tape, None
        if tape is None:
            raise BadInput("There is no training forward to go back through.", "Call forward(training=True) first.")
        seeded = {self._graph.logits if n == "logits" else n: seed for n, seed in seeds.items()}
        for name, seed in seeded.items():
            if name not in tape.fetched:
                raise BadInput(f"'{name}' was not fetched by the forward.", f"Fetch it: fetch=('{name}', ...).")
            if tuple(np.shape(seed)) != tuple(tape.tensors[name].shape):
                raise BadInput(
                    f"The gradient of '{name}' has shape {np.shape(seed)}, the forward had "
                    f"{tuple(tape.tensors[name].shape)}.",
                    "Seed the gradient of what was fetched.",
                )
        visit, self._visit = self._visit, None
        visited = visit[0] if visit else ()
        self._accumulate(tape, seeded, visited, visit[1] if visit else None)
        self._count_backward(tape, seeded, visited)

    def _accumulate(
        self,
        tape: _Tape,
        seeds: Mapping[str, Array],
        visited: Sequence[str],
        visit: Callable[[str, range, Array], None] | None,
    ) -> None:
        names = [n for n in tape.leaves if self.model[n].trained_count or n in visited]
        outputs = [(tape.tensors[n], s) for n, s in seeds.items() if tape.tensors[n].requires_grad]
        if not names or not outputs:
            return
        found = self._torch.autograd.grad(
            [t for t, _ in outputs],
            [tape.leaves[n] for n in names],
            [self._torch.from_numpy(np.array(s, order="C")).to(self._dtype) for _, s in outputs],
            allow_unused=True,
        )
        for name, gradient in zip(names, found):
            dense = np.zeros(self.model[name].spec.shape, np.float32) if gradient is None else gradient.numpy()
            if visit is not None and name in visited:
                _visit_rows(name, dense, visit)
            p = self.model[name]
            living = dense.ravel() if p.pattern is None else dense.ravel()[p.pattern]
            if p.trained_count:
                at = slice(None) if p.gradient_subset is None else p.gradient_subset
                self.gradients[name][at] += living[at]

    def visit_dense_gradients(self, names: Sequence[str], visit: Callable[[str, range, Array], None]) -> None:
        """In the next backward: ``visit(name, rows, block)`` with a float32 block [rows, ...]."""
        for name in names:
            self._parameter(name)
        self._visit = (tuple(names), visit)

    # ---- step
    def step(self, lr: float) -> None:
        with self._change:
            for name, p in self.model.parameters.items():
                if p.spec.trained:
                    update(p, self.gradients[name], self.plan.optimizer, lr)
            for name, values in self._statistics.items():
                self.model[name].values[:] = values
            self.discard()
            self.meters.steps += 1

    def clear_gradients(self) -> None:
        self.gradients.flat[:] = 0

    def discard(self) -> None:
        self.clear_gradients()
        self._statistics = {}
        self._tape = None

    # ---- weights, masks, state
    def _parameter(self, name: str) -> Parameter:
        if name not in self.model.parameters:
            raise unknown_name("parameter", name, self.model.parameters)
        return self.model[name]

    def snapshot(self) -> dict[str, Array]:
        return {n: p.values.copy() for n, p in self.model.parameters.items()}

    def set_pattern(self, name: str, pattern: Array | None) -> None:
        """Gradients accumulated for other tensors stay; this one's become zero."""
        p = self._parameter(name)
        with self._change:
            p.set_pattern(pattern)
            kept = {n: self.gradients[n] for n, q in self.model.parameters.items() if q.spec.trained and n != name}
            self.gradients.relayout()
            for n, gradient in kept.items():
                self.gradients[n][:] = gradient
            self._tape = None

    def set_gradient_mask(self, name: str, subset: Array | None) -> None:
        """Gradients accumulated outside ``subset`` stay readable; step leaves those weights alone."""
        self._parameter(name).set_gradient_subset(subset)

    def freeze(self, names: Iterable[str]) -> None:
        for p in [self._parameter(n) for n in names]:
            p.frozen = True
            self._statistics.pop(p.spec.name, None)

    def unfreeze(self, names: Iterable[str]) -> None:
        for p in [self._parameter(n) for n in names]:
            p.frozen = False

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None:
        names = [self._parameter(n).spec.name for n in names]
        with self._change:
            self.model.reset(names, rng)
            self.discard()

    def state(self) -> dict[str, Array]:
        """The model's canonical state; without uncommitted gradients and statistics and ``rng``."""
        return self.model.state()

    def load(self, state: Mapping[str, Array]) -> None:
        with self._change:
            self.model.load_state(state)
            self._prepare()

    # ---- prediction
    def predictor(self, batch: int) -> Callable[[Array], Array]:
        """A function x [B, ...] -> logits float32 [B, classes], in chunks of ``batch``; for any thread."""
        if batch > self.plan.predict_batch or batch < 1:
            raise BadInput(
                f"A predictor of {batch} samples does not fit the planned {self.plan.predict_batch}.",
                "Plan a larger predict_batch.",
            )

        def predict(x: Array) -> Array:
            x = self._check_feed(self._graph.input, np.asarray(x))
            with self._change, self._torch.no_grad():
                logits = [np.zeros((0, self._graph.classes), np.float32)]
                leaves = {n: self._tensor(p, p.values, False) for n, p in self.model.parameters.items()}
                for i in range(0, len(x), batch):
                    tensors, _ = self._run({self._graph.input: x[i : i + batch]}, leaves, False)
                    logits.append(tensors[self._graph.logits].numpy().astype(np.float32))
            return np.concatenate(logits)

        return predict

    def changing(self) -> AbstractContextManager[Any]:
        return self._change

    # ---- meters
    def _count(self, node: Node, samples: int) -> None:
        cost = self._costs.get(node.name)
        if cost is not None:
            self.meters.forward_flops += cost.forward(self.model[cost.name].living, samples)

    def _count_backward(self, tape: _Tape, seeds: Iterable[str], visited: Sequence[str]) -> None:
        """Over the nodes that the seeds reach; a visited tensor costs its whole weight gradient."""
        reached = set(seeds)
        # tensors that depend on a trained parameter; what was fed does not
        dependent: set[str] = set()
        for node in tape.nodes:
            trained = any(self.model[n].spec.trained for n in node.parameters)
            if trained or not dependent.isdisjoint(node.inputs):
                dependent.add(node.output)
        for node in reversed(tape.nodes):
            if node.output not in reached:
                continue
            reached.update(node.inputs)
            cost = self._costs.get(node.name)
            if cost is None:
                continue
            p = self.model[cost.name]
            count = p.spec.size if cost.name in visited else p.trained_count
            cost = replace(cost, input_gradient=node.inputs[0] in dependent)
            self.meters.backward_flops += cost.backward(p.living, count, tape.samples)
        self.meters.backwards += 1


def _visit_rows(name: str, dense: Array, visit: Callable[[str, range, Array], None]) -> None:
    rows = max(1, VISIT_WEIGHTS // max(1, dense[0].size))
    for start in range(0, len(dense), rows):
        block = range(start, min(len(dense), start + rows))
        visit(name, block, np.ascontiguousarray(dense[block.start : block.stop], np.float32))
