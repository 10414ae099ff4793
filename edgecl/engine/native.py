"""NativeEngine: runs a plan on the compiled kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .. import _kernels
from ..compiler import Plan
from ..compiler.operations import CONV_WEIGHT, DEPTH_BACKWARD, POINT_BACKWARD
from ..errors import BadInput
from ..give_back import trim
from ..graph.ops.dropout import draw_mask
from .base import Meters
from .engine_state import EngineState, check_parameter
from .feeds import check_predictor, check_samples, refuse_training
from .flop_counter import FlopCounter
from .gradients import Flat
from .model import Model
from .network import BoundNetwork, Evaluator, open_session
from .optimizer import check_optimizer
from .sides import Side
from .visits import VISIT_WEIGHTS, Visitor, add_living, check_visited, row_blocks

Array = np.ndarray


class NativeEngine:
    """The engine contract (see `Engine`) over `_kernels.Network` and one `_kernels.Session` per entry point.

    The model's arrays are the master copy; index lists derived from them are rebuilt lazily after a change of
    pattern, subset or plan. ``rng`` draws dropout masks.
    """

    def __init__(self, model: Model, plan: Plan, rng: np.random.Generator | None = None) -> None:
        self.model = model
        self.meters = Meters()
        self._rng = rng
        # Held by whatever rebuilds lists or replaces arrays, which the kernels know by address, and by predictions.
        self._change = threading.RLock()
        self._held = EngineState(model, self._change)
        self.gradients = self._held.gradients
        self.replan(plan)

    @property
    def rng(self) -> np.random.Generator:
        """Made when first needed: numpy's generators are 7 MB that a network without dropout can do without."""
        if self._rng is None:
            self._rng = np.random.default_rng(0)
        return self._rng

    # ---- plan and bindings -----------------------------------------------------------------------------------
    def replan(self, plan: Plan) -> None:
        """Other batch, densities, threads, a wider head, or more or less that is trained; parameters and sides stay.
        Uncommitted work is dropped, and so is what the new plan has no use for.
        """
        if not plan.program:
            raise BadInput("The plan holds no native program.", "Make it with edgecl.compiler.compile_plan.")
        if plan.program["isa"] != _kernels.isa() and plan.program["lanes"] not in _kernels.lanes():
            raise BadInput(
                f"The plan was made for {plan.program['isa']}, this processor runs {_kernels.isa()}.",
                "Plan again here.",
            )
        check_optimizer(plan.optimizer)
        with self._change:
            if plan.graph is not self.model.graph:
                self.model.adopt(plan.graph, self.rng)
            self.plan, self._graph = plan, plan.graph
            self._held.replan(plan)
            self._train: Mapping[str, Any] = plan.program["train"] or {}
            self._whole = plan.extras.trains == "all"
            self._outputs: dict[str, tuple[str, int, tuple[int, ...]]] = {}
            planes = (self._train or plan.program["predict"])["planes"]
            self._bindings = BoundNetwork(plan, planes, plan.threads)
            self._network = self._bindings.kernels
            o = plan.optimizer
            self._network.set_optimizer(o.kind == "adam", o.momentum, o.weight_decay, o.beta1, o.beta2, o.epsilon)
            self._stale = {n.parameters[0] for n in self._bindings.weights}
            self._stale_subsets: set[str] = set()
            self._count = FlopCounter(self.model, plan.graph, plan.program["lanes"], self._held.trained)
            self._bound = False
            self._session: Any = None
            self._feed: Any = None
            if self._train:
                self._session, self._feed = open_session(plan, self._bindings, "train", own_threads=0)
            self._evaluator = Evaluator(plan, self._bindings)
            # Of the training forward that backward belongs to: samples, and the tensors that may be seeded.
            self._pending: tuple[int, list[str]] | None = None
            self._visit: tuple[frozenset[str], Visitor] | None = None
            self._sync()
            trim()  # what building the lists took, before arenas grow beside it

    def _sync(self) -> None:
        """Rebuild the lists of changed weights and bind every array again."""
        if not self._stale and self._bound:
            return
        with self._change:
            if not self._stale and self._bound:
                return
            self._bindings.bind(self.model.parameters, self.gradients.get, self._stale, self._stale_subsets)
            for name in self._stale:
                self._count.forget(name)
            ps = [self.model[n] for n in self._held.trained]
            moments = [[*p.moments.values(), None, None] for p in ps]
            self._network.set_parameters(
                [p.values for p in ps],
                [self.gradients[n] for n in self._held.trained],
                [m[0] for m in moments],
                [m[1] for m in moments],
                [p.gradient_subset for p in ps],
                [p.frozen for p in ps],
            )
            self._stale = set()
            self._stale_subsets = set()
            self._bound = True

    # ---- forward ---------------------------------------------------------------------------------------------
    def forward(
        self,
        feeds: Mapping[str, Array],
        fetch: Sequence[str] = ("logits",),
        training: bool = True,
        params: Mapping[str, Array] | Side | None = None,
    ) -> dict[str, Array]:
        self._sync()
        x = check_samples(self._graph, feeds, self.plan.batch)
        if params is not None or not training:
            if params is None or isinstance(params, Side):
                return self._evaluate(x, fetch, None if params is None else self._held.sides.filled(params))
            with self._change, self._exchanged(params):
                return self._evaluate(x, fetch)
        session, n = self._session, len(x)
        if session is None:
            refuse_training(self.plan)
        outputs = [(name, *(self._outputs.get(name) or self._output(name))) for name in fetch]
        session.begin(n)
        for name, index in self._train["factors"].items():
            session.load(index, self._dropout(name, n))
        session.forward(self._feed, x, self._whole)
        self._count.forward(self.meters, n)
        self._pending = n, [tensor for _, tensor, _, _ in outputs]
        return {name: session.fetch(index, (n, *shape)) for name, _, index, shape in outputs}

    def _output(self, name: str) -> tuple[str, int, tuple[int, ...]]:
        """Tensor, map and shape behind a name that a training forward fetches; looked up once a plan."""
        tensor = self._tensor("train", name)
        self._outputs[name] = tensor, self._train["fetch"][tensor], self._graph.shapes[tensor]
        return self._outputs[name]

    def _evaluate(self, x: Array, fetch: Sequence[str], side: Side | None = None) -> dict[str, Array]:
        """An evaluation forward, in the prediction arena: the training forward's tensors stay."""
        names = {name: self._tensor("predict", name) for name in fetch}
        tensors, step = list(dict.fromkeys(names.values())), self.plan.predict_batch
        with self._change:
            count = self._count if side is None else self._evaluator.counter(side)
            parts = [self._evaluator.run(x[i : i + step], tensors, side) for i in range(0, len(x), step)]
            count.forward(self.meters, len(x))
        return {name: np.concatenate([p[tensor] for p in parts]) for name, tensor in names.items()}

    @contextmanager
    def _exchanged(self, params: Mapping[str, Array]) -> Iterator[None]:
        """The model with the values of a snapshot, for the time of a with block."""
        self._held.check_snapshot(params)
        own = {name: self.model[name].values.copy() for name in params}
        try:
            for name, other in params.items():
                self.model[name].values[:] = other
            self._network.refresh()
            yield
        finally:
            for name, values in own.items():
                self.model[name].values[:] = values
            self._network.refresh()

    # ---- backward and step -----------------------------------------------------------------------------------
    def backward(self, seeds: Mapping[str, Array]) -> None:
        train, session = self._train, self._session
        if session is None:
            refuse_training(self.plan)
        self._sync()
        pending, self._pending = self._pending, None
        if pending is None:
            raise BadInput("There is no training forward to go back through.", "Call forward(training=True) first.")
        n, fetched = pending
        given: dict[str, Array] = {}
        for name, values in seeds.items():
            tensor = self._graph.tensor(name)
            if tensor not in fetched:
                raise BadInput(f"'{tensor}' was not fetched by the forward.", f"Fetch it: fetch=('{tensor}', ...).")
            given[tensor] = values
        session.begin(n)
        for tensor, index in train["seeds"].items():
            shape = (n, *self._graph.shapes[tensor])
            seed = given.get(tensor)
            seed = np.zeros(shape, np.float32) if seed is None else np.ascontiguousarray(seed, np.float32)
            if seed.shape != shape:
                raise BadInput(
                    f"The gradient of '{tensor}' has shape {seed.shape}, the forward had {shape}.",
                    "Seed the gradient of what was fetched.",
                )
            session.load(index, seed)
        if self._visit is None:
            session.backward(0, len(train["backward"]))
        else:
            self._backward_visiting(train["backward"], *self._visit)
        for name in self._held.trained:
            if self.model[name].frozen:  # a normalisation computes both of its gradients at once
                self.gradients[name][:] = 0
        self._count.backward(self.meters, n, () if self._visit is None else self._visit[0])

    def visit_dense_gradients(self, names: Sequence[str], visit: Visitor) -> None:
        self._visit = (check_visited(self._graph, self._held.trained, names), visit) if names else None

    def _backward_visiting(self, operations: Sequence[Any], names: frozenset[str], visit: Visitor) -> None:
        """The gradient of a visited weight is made once, dense; that of the living weights is taken from it."""
        session, done = self._session, 0
        for i, (code, args) in enumerate(operations):
            if code not in (CONV_WEIGHT, DEPTH_BACKWARD, POINT_BACKWARD):
                continue
            name = self._bindings.weights[args[0]].parameters[0]
            if name not in names:
                continue
            session.backward(done, i)
            p = self.model[name]
            for rows in row_blocks(p.spec.shape, VISIT_WEIGHTS):
                dense = session.dense_gradient(i, rows.start, rows.stop, p.spec.size // p.spec.shape[0])
                block = np.asarray(dense).reshape(len(rows), *p.spec.shape[1:])
                add_living(p, self.gradients[name], rows, block)
                visit(name, rows, block)
            self._network.set_subset(args[0], None, True)
            session.backward(i, i + 1)
            self._network.set_subset(args[0], p.gradient_subset, p.frozen)
            done = i + 1
        session.backward(done, len(operations))

    def step(self, lr: float) -> None:
        if self._session is None:
            refuse_training(self.plan)
        self._sync()
        counts = []
        for name in self._held.trained:
            p = self.model[name]
            if self.plan.optimizer.kind == "adam" and not p.frozen:
                p.step_count += 1
            counts.append(p.step_count)
        self._network.step(lr, counts)  # and makes the gradients zero
        self._pending = self._visit = None
        self.meters.steps += 1

    def clear_gradients(self) -> None:
        self.gradients.flat[:] = 0

    def discard(self) -> None:
        self.gradients.flat[:] = 0
        self._pending = self._visit = None
        self._network.begin_norms()

    # ---- weights, masks, what stands beside them -------------------------------------------------------------
    def snapshot(self) -> dict[str, Array]:
        return {n: p.values.copy() for n, p in self.model.parameters.items()}

    def side(self, name: str) -> Side:
        return self._held.sides[name]

    def per_weight(self, name: str) -> Flat:
        return self._held.per_weight(name)

    def set_pattern(self, name: str, pattern: Array | None) -> None:
        check_parameter(self.model, name)
        with self._change:
            self._pending = None
            self._held.set_pattern(name, pattern)
            self._stale.add(name)
            self._bound = False

    def set_gradient_mask(self, name: str, subset: Array | None) -> None:
        with self._change:
            check_parameter(self.model, name).set_gradient_subset(subset)
            self._subset_changed(name)

    def freeze(self, names: Iterable[str]) -> None:
        self._set_frozen(names, True)

    def unfreeze(self, names: Iterable[str]) -> None:
        self._set_frozen(names, False)

    def _set_frozen(self, names: Iterable[str], frozen: bool) -> None:
        with self._change:
            for p in [check_parameter(self.model, n) for n in names]:
                p.frozen = frozen
                self._subset_changed(p.spec.name)

    def _subset_changed(self, name: str) -> None:
        self._count.forget(name)
        self._stale_subsets.add(name)
        self._bound = False

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None:
        names = [check_parameter(self.model, n).spec.name for n in names]
        with self._change:
            self.model.reset(names, rng)
            self._network.refresh()
            self.discard()

    # ---- prediction ------------------------------------------------------------------------------------------
    def predictor(
        self, batch: int, fetch: Sequence[str] = ("logits",), side: str | None = None
    ) -> Callable[[Array], dict[str, Array]]:
        """See `Engine`. It runs on the caller's thread alone; all predictors share one arena, which the plan counts."""
        check_predictor(self.plan, batch)
        names = {name: self._tensor("predict", name) for name in fetch}
        if side is not None:
            self.side(side)

        def predict(x: Array) -> dict[str, Array]:
            graph = self._graph
            x = check_samples(graph, {graph.input: x}, None)
            out = {n: np.empty((len(x), *graph.shapes[graph.tensor(n)]), np.float32) for n in names}
            for i in range(0, len(x), batch):
                with self._change:  # a piece at a time: training waits for no longer
                    self._sync()
                    held = None if side is None else self._held.sides.predicting(side)
                    tensors = {n: self._tensor("predict", n) for n in names}
                    found = self._evaluator.run(x[i : i + batch], list(dict.fromkeys(tensors.values())), held)
                for name, tensor in tensors.items():
                    out[name][i : i + batch] = found[tensor][:, : out[name].shape[1]]
            return out

        return predict

    def changing(self) -> AbstractContextManager[Any]:
        return self._change

    # ---- saved state -----------------------------------------------------------------------------------------
    def state(self) -> dict[str, Array]:
        return self._held.state()

    def load(self, state: Mapping[str, Array]) -> None:
        with self._change:
            self._held.load(state)
            self._pending = self._visit = None
            self._stale = {n.parameters[0] for n in self._bindings.weights}
            self._bound = False
            self._sync()
            self._network.begin_norms()

    # ---- helpers ---------------------------------------------------------------------------------------------
    def _tensor(self, entry: str, name: str) -> str:
        tensor, known = self._graph.tensor(name), self.plan.program[entry]["fetch"]
        if tensor not in known:
            option = "fetch" if entry == "train" else "predict_fetch"
            raise BadInput(
                f"'{name}' is not among the tensors this plan fetches.",
                f"Plan with {option}=('{name}',); now: {', '.join(known)}.",
            )
        return tensor

    def _dropout(self, node_name: str, samples: int) -> Array:
        p = next(n for n in self._graph.nodes if n.name == node_name).attributes["p"]
        keep = draw_mask(self.rng, (samples, *self._graph.shapes[node_name]), p)
        return keep.astype(np.float32) / np.float32(1 - p)
