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
from ..graph.freeze import keeps_statistics
from ..graph.ops.dropout import draw_mask
from .base import Meters
from .engine_state import EngineState, check_parameter
from .feeds import check_predictor, refuse_training
from .gradients import Flat, FlatGradients
from .model import Model, Parameter
from .optimizer import check_optimizer, update
from .sides import Side
from .visits import VISIT_WEIGHTS, Visitor, check_visited, row_blocks

Array = np.ndarray


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

    An evaluation forward, or one with ``params``, does not disturb the tape of the latest training forward. Any
    tensor can be fetched, planned or not.
    """

    def __init__(
        self, model: Model, plan: Plan, rng: np.random.Generator | None = None, dtype: str = "float32"
    ) -> None:
        self._torch = require("torch", "torch")
        self._dtype = {"float32": self._torch.float32, "float64": self._torch.float64}[dtype]
        self.model = model
        self.meters = Meters()
        self.rng = rng if rng is not None else np.random.default_rng(0)
        self._change = threading.RLock()  # held by predictors and by whatever changes the weights
        self._held = EngineState(model, self._change, np.float64 if dtype == "float64" else np.float32)
        self._tape: _Tape | None = None
        self._statistics: dict[str, Array] = {}  # running statistics not yet committed
        self._visit: tuple[frozenset[str], Visitor] | None = None
        self.replan(plan)

    @property
    def gradients(self) -> FlatGradients:
        return self._held.gradients

    def replan(self, plan: Plan) -> None:
        """Other batch, optimizer, threads, a wider head, or more or less that is trained; parameters and sides stay.
        Uncommitted work is dropped.
        """
        check_optimizer(plan.optimizer)
        with self._change:
            if plan.graph is not self.model.graph:
                self.model.adopt(plan.graph, self.rng)
            self.plan = plan
            self._torch.set_num_threads(plan.threads)
            self._held.replan(plan)
            self._costs = {c.node: c for c in weight_costs(self._graph, self._held.trained)}
            self._forget()

    def _forget(self) -> None:
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
        params: Mapping[str, Array] | Side | None = None,
    ) -> dict[str, Array]:
        """Fetched tensors, float32 [B, ...]. ``params`` replaces the model's values for this call, which then is an
        evaluation forward.
        """
        feeds, samples = self._check_feeds(feeds, self.plan.batch)
        if isinstance(params, Side):
            return self._evaluate(feeds, samples, fetch, {}, self._held.sides.filled(params))
        if not training or params is not None:
            self._held.check_snapshot(params or {})
            return self._evaluate(feeds, samples, fetch, params or {}, None)
        refuse_training(self.plan)
        trains = set(self._held.trained)
        values = {n: p.values for n, p in self.model.parameters.items()} | self._statistics
        leaves = {n: self._tensor(p, values[n], n in trains) for n, p in self.model.parameters.items()}
        whole = self.plan.extras.trains == "all"  # a body that is not trained runs as in a prediction
        with self._torch.set_grad_enabled(True):
            tensors, nodes = self._run(feeds, leaves, whole)
        names = self._names(fetch, tensors)
        if whole:
            self._statistics = {
                n: leaves[n].numpy().astype(np.float32)
                for n, p in self.model.parameters.items()
                if p.spec.role == "statistic" and not p.frozen
            }
        trained = {n: t for n, t in leaves.items() if t.requires_grad}
        self._tape = _Tape(tensors, trained, nodes, names, samples)
        self._count(nodes, samples, self.model.parameters)
        return {asked: tensors[n].detach().numpy().copy() for asked, n in zip(fetch, names)}

    def _evaluate(
        self,
        feeds: Mapping[str, Array],
        samples: int,
        fetch: Sequence[str],
        given: Mapping[str, Array],
        side: Side | None,
    ) -> dict[str, Array]:
        parameters = self.model.parameters if side is None else side.parameters
        leaves = {n: self._tensor(p, given.get(n, p.values), False) for n, p in parameters.items()}
        with self._torch.no_grad():
            tensors, nodes = self._run(feeds, leaves, False)
        names = self._names(fetch, tensors)
        self._count(nodes, samples, parameters)
        found = {asked: tensors[n].numpy().copy() for asked, n in zip(fetch, names)}
        return found if side is None else self._blanked(side, found)

    def _names(self, fetch: Sequence[str], tensors: Mapping[str, Any]) -> tuple[str, ...]:
        names = tuple(self._graph.tensor(n) for n in fetch)
        for name in names:
            if name not in tensors:
                raise unknown_name("tensor", name, tensors)
        return names

    def _blanked(self, side: Side, found: dict[str, Array]) -> dict[str, Array]:
        """The logits of units that the side does not know at -inf."""
        for name, values in found.items():
            if self._graph.tensor(name) == self._graph.logits:
                side.blank(values)
        return found

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
            learns = training and not keeps_statistics(self._graph, node)
            tensors[node.output] = operator(node.op, node.name).torch(inputs, params, node.attributes, learns)
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

    # ---- backward
    def backward(self, seeds: Mapping[str, Array]) -> None:
        """Adds the gradients of the latest training forward, seeded at fetched tensors; once per forward."""
        refuse_training(self.plan)
        tape, self._tape = self._tape, None
        if tape is None:
            raise BadInput("There is no training forward to go back through.", "Call forward(training=True) first.")
        seeded = {self._graph.tensor(n): seed for n, seed in seeds.items()}
        for name, seed in seeded.items():
            if name not in tape.fetched:
                raise BadInput(f"'{name}' was not fetched by the forward.", f"Fetch it: fetch=('{name}', ...).")
            if tuple(np.shape(seed)) != tuple(tape.tensors[name].shape):
                raise BadInput(
                    f"The gradient of '{name}' has shape {np.shape(seed)}, the forward had "
                    f"{tuple(tape.tensors[name].shape)}.",
                    "Seed the gradient of what was fetched.",
                )
        visited, visit = self._visit or (frozenset(), None)
        self._accumulate(tape, seeded, visited, visit)
        self._count_backward(tape, seeded, visited)

    def _accumulate(
        self,
        tape: _Tape,
        seeds: Mapping[str, Array],
        visited: frozenset[str],
        visit: Visitor | None,
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
                for rows in row_blocks(dense.shape, VISIT_WEIGHTS):
                    visit(name, rows, np.ascontiguousarray(dense[rows.start : rows.stop], np.float32))
            p = self.model[name]
            living = dense.ravel() if p.pattern is None else dense.ravel()[p.pattern]
            if p.trained_count:
                at = slice(None) if p.gradient_subset is None else p.gradient_subset
                self.gradients[name][at] += living[at]

    def visit_dense_gradients(self, names: Sequence[str], visit: Visitor) -> None:
        self._visit = (check_visited(self._graph, self._held.trained, names), visit) if names else None

    # ---- step
    def step(self, lr: float) -> None:
        refuse_training(self.plan)
        with self._change:
            for name in self._held.trained:
                update(self.model[name], self.gradients[name], self.plan.optimizer, lr)
            for name, values in self._statistics.items():
                self.model[name].values[:] = values
            self.discard()
            self.meters.steps += 1

    def clear_gradients(self) -> None:
        self.gradients.flat[:] = 0

    def discard(self) -> None:
        self.clear_gradients()
        self._forget()

    # ---- weights, masks, state
    def _parameter(self, name: str) -> Parameter:
        return check_parameter(self.model, name)

    def snapshot(self) -> dict[str, Array]:
        return {n: p.values.copy() for n, p in self.model.parameters.items()}

    def side(self, name: str) -> Side:
        return self._held.sides[name]

    def per_weight(self, name: str) -> Flat:
        return self._held.per_weight(name)

    def set_pattern(self, name: str, pattern: Array | None) -> None:
        self._parameter(name)
        with self._change:
            self._held.set_pattern(name, pattern)
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
        """The model's canonical state and the sides; without uncommitted gradients and statistics and ``rng``."""
        return self._held.state()

    def load(self, state: Mapping[str, Array]) -> None:
        with self._change:
            self._held.load(state)
            self._forget()

    # ---- prediction
    def predictor(
        self, batch: int, fetch: Sequence[str] = ("logits",), side: str | None = None
    ) -> Callable[[Array], dict[str, Array]]:
        check_predictor(self.plan, batch)
        self._names(fetch, self._graph.shapes)
        if side is not None:
            self.side(side)

        def predict(x: Array) -> dict[str, Array]:
            graph = self._graph
            x = self._check_feed(graph.input, np.asarray(x))
            out = {n: np.empty((len(x), *graph.shapes[graph.tensor(n)]), np.float32) for n in fetch}
            with self._change, self._torch.no_grad():
                held = None if side is None else self._held.sides.predicting(side)
                parameters = self.model.parameters if held is None else held.parameters
                leaves = {n: self._tensor(p, p.values, False) for n, p in parameters.items()}
                for i in range(0, len(x), batch):
                    tensors, _ = self._run({graph.input: x[i : i + batch]}, leaves, False)
                    for name, values in out.items():
                        values[i : i + batch] = tensors[graph.tensor(name)].numpy()
            return out if held is None else self._blanked(held, out)

        return predict

    def changing(self) -> AbstractContextManager[Any]:
        return self._change

    # ---- meters
    def _count(self, nodes: Sequence[Node], samples: int, parameters: Mapping[str, Parameter]) -> None:
        for node in nodes:
            cost = self._costs.get(node.name)
            if cost is not None:
                self.meters.forward_flops += cost.forward(parameters[cost.name].living, samples)
        self.meters.forwards += 1

    def _count_backward(self, tape: _Tape, seeds: Iterable[str], visited: frozenset[str]) -> None:
        """Over the nodes that the seeds reach; a visited tensor costs its whole weight gradient."""
        reached = set(seeds)
        # tensors that depend on a trained parameter; what was fed does not
        dependent: set[str] = set()
        for node in tape.nodes:
            trained = any(n in tape.leaves for n in node.parameters)
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
            count = 0 if cost.name not in tape.leaves else p.trained_count
            count = p.spec.size if cost.name in visited else count
            cost = replace(cost, input_gradient=node.inputs[0] in dependent)
            self.meters.backward_flops += cost.backward(p.living, count, tape.samples)
        self.meters.backwards += 1
