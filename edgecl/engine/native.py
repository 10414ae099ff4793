"""NativeEngine: runs a plan on the compiled kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from .. import _kernels
from ..compiler import Plan
from ..compiler.operations import CONV_WEIGHT, DEPTH_BACKWARD, POINT_BACKWARD, geometry
from ..errors import BadInput, unknown_name
from ..graph import Graph
from ..graph.ops.dropout import draw_mask
from .base import Meters
from .flop_counter import FlopCounter
from .gradients import FlatGradients
from .model import Model, Parameter
from .optimizer import check_optimizer

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
        self.gradients = FlatGradients(model)
        self._dense_visit: tuple[set[str], Callable[[str, range, Array], None]] | None = None
        # Held by whatever rebuilds lists or replaces arrays, which the kernels know by address, and by predictions.
        self._change = threading.RLock()
        self.replan(plan)

    @property
    def rng(self) -> np.random.Generator:
        """Made when first needed: numpy's generators are 7 MB that a network without dropout can do without."""
        if self._rng is None:
            self._rng = np.random.default_rng(0)
        return self._rng

    # ---- plan and bindings -----------------------------------------------------------------------------------
    def replan(self, plan: Plan) -> None:
        """Other batch, densities, threads or a wider head; parameters stay. Uncommitted work is dropped."""
        if not plan.program:
            raise BadInput("The plan holds no native program.", "Make it with edgecl.compiler.compile_plan.")
        if plan.program["isa"] != _kernels.isa() and plan.program["lanes"] not in _kernels.lanes():
            raise BadInput(
                f"The plan was made for {plan.program['isa']}, this processor runs {_kernels.isa()}.",
                "Plan again here.",
            )
        with self._change:
            self.plan = plan
            graph = plan.graph
            if graph is not self.model.graph:
                self.model.adopt(graph, self.rng)
            self._graph = graph
            self._weights = [n for n in graph.nodes if n.op in ("conv2d", "linear")]
            self._norms = [n for n in graph.nodes if n.op in ("batch_norm", "group_norm")]
            self._trained = [p.name for p in graph.parameters.values() if p.trained]
            self._lanes = plan.program["lanes"]
            check_optimizer(plan.optimizer)
            for name in self._trained:
                self.model[name].prepare_moments(plan.optimizer.moments())
            self._network = _kernels.Network(plan.threads, self._lanes)
            o = plan.optimizer
            self._network.set_optimizer(o.kind == "adam", o.momentum, o.weight_decay, o.beta1, o.beta2, o.epsilon)
            for node in self._weights:
                self._network.add_weight(geometry(graph, node))
            for node in self._norms:
                self._network.add_norm(
                    graph.shapes[node.output][0],
                    node.attributes.get("groups", 0),
                    node.attributes["eps"],
                    node.attributes.get("momentum", 0.0),
                )
            self.gradients.relayout()
            self._stale = {n.parameters[0] for n in self._weights}
            self._stale_subsets: set[str] = set()
            self._count = FlopCounter(self.model, graph, self._lanes)
            self._bound = False
            self._session, self._feed = self._open("train", own_thread=False)
            self._predict: tuple[Any, Any] | None = None
            self._samples: int | None = None  # of the training forward that backward belongs to
            self._sync()

    def _open(self, entry: str, own_thread: bool) -> tuple[Any, Any]:
        e = self.plan.program[entry]
        node = next(n for n in self._graph.nodes if n.op == "normalise")
        feed = _kernels.Feed(
            e["feed"],
            [float(m) for m in node.attributes["mean"]],
            [1.0 / float(s) for s in node.attributes["std"]],
            int(node.attributes.get("pad", 0)),
        )
        session = _kernels.Session(
            self._network, e["blocks"], e["arena_bytes"], e["maps"], e["forward"], e["backward"], own_thread
        )
        return session, feed

    def _sync(self) -> None:
        """Rebuild the lists of changed weights and bind every array again."""
        if not self._stale and self._bound:
            return
        with self._change:
            if not self._stale and self._bound:
                return
            model, grads = self.model, self.gradients
            planes = self.plan.program["train"]["planes"]
            for i, node in enumerate(self._weights):
                name = node.parameters[0]
                p = model[name]
                if name in self._stale:
                    x, dy = planes[node.name]
                    blocks = self.plan.program["blocking"][node.name]
                    self._network.build_weight(i, p.values, grads[name], self._bias(node), p.pattern, x, dy, blocks)
                    self._count.forget(name)
                else:
                    self._network.rebind_weight(i, p.values, grads[name], self._bias(node), p.pattern)
                if name in self._stale or name in self._stale_subsets:
                    self._network.set_subset(i, p.gradient_subset, p.frozen)
            for i, node in enumerate(self._norms):
                names = node.parameters
                statistics = [model[n] for n in names[2:4]]
                mean, var = (p.values for p in statistics) if statistics else (None, None)
                self._network.bind_norm(
                    i,
                    model[names[0]].values,
                    model[names[1]].values,
                    mean,
                    var,
                    grads[names[0]],
                    grads[names[1]],
                    [p.frozen for p in statistics] or [False, False],
                )
            self._bind_parameters()
            self._stale = set()
            self._stale_subsets = set()
            self._bound = True

    def _bind_parameters(self) -> None:
        ps = [self.model[n] for n in self._trained]
        moments = [[*p.moments.values(), None, None] for p in ps]
        self._network.set_parameters(
            [p.values for p in ps],
            [self.gradients[n] for n in self._trained],
            [m[0] for m in moments],
            [m[1] for m in moments],
            [p.gradient_subset for p in ps],
            [p.frozen for p in ps],
        )

    def _bias(self, node: Any) -> Array | None:
        return self.model[node.parameters[1]].values if len(node.parameters) > 1 else None

    # ---- the contract ----------------------------------------------------------------------------------------
    def forward(
        self,
        feeds: Mapping[str, Array],
        fetch: Sequence[str] = ("logits",),
        training: bool = True,
        params: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        self._sync()
        x = check_samples(self._graph, feeds, self.plan.batch)
        names = {name: self._tensor(name) for name in fetch}
        if params is not None:
            with self._change, self._exchanged(params):
                return self._evaluate(x, names)
        if not training:
            return self._evaluate(x, names)
        train = self.plan.program["train"]
        self._session.begin(len(x))
        for name, index in train["factors"].items():
            self._session.load(index, self._dropout(name, len(x)))
        self._session.forward(self._feed, x, True)
        self._count.forward(self.meters, len(x))
        self._samples = len(x)
        return {name: self._fetch(self._session, train, tensor, len(x)) for name, tensor in names.items()}

    def _fetch(self, session: Any, entry: Mapping[str, Any], tensor: str, samples: int) -> Array:
        return session.fetch(entry["fetch"][tensor], [samples, *self._graph.shapes[tensor]])

    def _evaluate(self, x: Array, names: Mapping[str, str]) -> dict[str, Array]:
        """An evaluation forward, in the prediction arena: the training forward's tensors stay."""
        entry, step = self.plan.program["predict"], self.plan.predict_batch
        parts: dict[str, list[Array]] = {name: [] for name in names}
        with self._change:
            session, feed = self._predict_session()
            for i in range(0, len(x), step):
                piece = x[i : i + step]
                session.evaluate(self._network, feed, piece)
                for name, tensor in names.items():
                    parts[name].append(self._fetch(session, entry, tensor, len(piece)))
        self._count.forward(self.meters, len(x))
        return {name: np.concatenate(p) for name, p in parts.items()}

    def _predict_session(self) -> tuple[Any, Any]:
        if self._predict is None:
            self._predict = self._open("predict", own_thread=True)
        return self._predict

    def backward(self, seeds: Mapping[str, Array]) -> None:
        self._sync()
        train = self.plan.program["train"]
        n, self._samples = self._samples, None
        if n is None:
            raise BadInput("There is no training forward to go back through.", "Call forward(training=True) first.")
        given = {self._tensor(k): v for k, v in seeds.items()}
        self._session.begin(n)
        for tensor, index in train["seeds"].items():
            shape = (n, *self._graph.shapes[tensor])
            seed = given.get(tensor)
            seed = np.zeros(shape, np.float32) if seed is None else np.ascontiguousarray(seed, np.float32)
            if seed.shape != shape:
                raise BadInput(
                    f"The gradient of '{tensor}' has shape {seed.shape}, the forward had {shape}.",
                    "Seed the gradient of what was fetched.",
                )
            self._session.load(index, seed)
        if self._dense_visit is None:
            self._session.backward(0, len(train["backward"]))
        else:
            self._backward_visiting()
        for name in self._trained:
            if self.model[name].frozen:  # a normalisation computes both of its gradients at once
                self.gradients[name][:] = 0
        self._count.backward(self.meters, n)

    def step(self, lr: float) -> None:
        self._sync()
        counts = []
        for name in self._trained:
            p = self.model[name]
            if self.plan.optimizer.kind == "adam" and not p.frozen:
                p.step_count += 1
            counts.append(p.step_count)
        self._network.step(lr, counts)  # and makes the gradients zero
        self._samples = None
        self.meters.steps += 1

    def clear_gradients(self) -> None:
        self.gradients.flat[:] = 0

    def discard(self) -> None:
        self.gradients.flat[:] = 0
        self._samples = None
        self._network.begin_norms()

    def visit_dense_gradients(self, names: Sequence[str], visit: Callable[[str, range, Array], None]) -> None:
        """In the next backward: ``visit(name, rows, block)`` with float32 block [rows, in/groups, kh, kw]."""
        self._dense_visit = ({self._parameter(n).spec.name for n in names}, visit)

    def _backward_visiting(self) -> None:
        names, visit = self._dense_visit or (set(), None)
        self._dense_visit = None
        operations = self.plan.program["train"]["backward"]
        done = 0
        for i, (code, args) in enumerate(operations):
            about_weight = code in (CONV_WEIGHT, DEPTH_BACKWARD, POINT_BACKWARD)
            name = self._weights[args[0]].parameters[0] if about_weight else ""
            if name not in names or visit is None:
                continue
            self._session.backward(done, i)
            done = i
            shape = self.model[name].spec.shape
            per_row = int(np.prod(shape[1:]))
            rows = max(1, 65536 // per_row)
            for first in range(0, shape[0], rows):
                block = range(first, min(first + rows, shape[0]))
                dense = self._session.dense_gradient(i, block.start, block.stop, per_row)
                visit(name, block, np.asarray(dense).reshape(len(block), *shape[1:]))
        self._session.backward(done, len(operations))

    def snapshot(self) -> dict[str, Array]:
        return {n: p.values.copy() for n, p in self.model.parameters.items()}

    @contextmanager
    def _exchanged(self, params: Mapping[str, Array]) -> Iterator[None]:
        """The model with the values of a snapshot, for the time of a with block."""
        own = {}
        for name, other in params.items():
            p = self._parameter(name)
            if p.values.shape != other.shape:
                raise BadInput(
                    f"The snapshot's '{name}' has {other.size} living weights, the model {p.living}.",
                    "Take a new snapshot after a change of pattern.",
                )
            own[name] = p.values.copy()
        try:
            for name, other in params.items():
                self.model[name].values[:] = other
            self._network.refresh()
            yield
        finally:
            for name, values in own.items():
                self.model[name].values[:] = values
            self._network.refresh()

    def _parameter(self, name: str) -> Parameter:
        if name not in self.model.parameters:
            raise unknown_name("parameter", name, self.model.parameters)
        return self.model[name]

    def set_pattern(self, name: str, pattern: Array | None) -> None:
        self._parameter(name)
        with self._change:
            self._samples = None
            before = {n: self.gradients[n] for n in self._trained}
            self.model[name].set_pattern(pattern)
            self.gradients.relayout()
            for n, gradient in before.items():
                if n != name:
                    self.gradients[n][:] = gradient
            self._stale.add(name)
            self._bound = False

    def set_gradient_mask(self, name: str, subset: Array | None) -> None:
        with self._change:
            self._parameter(name).set_gradient_subset(subset)
            self._subset_changed(name)

    def freeze(self, names: Iterable[str]) -> None:
        self._set_frozen(names, True)

    def unfreeze(self, names: Iterable[str]) -> None:
        self._set_frozen(names, False)

    def _set_frozen(self, names: Iterable[str], frozen: bool) -> None:
        with self._change:
            for p in [self._parameter(n) for n in names]:
                p.frozen = frozen
                self._subset_changed(p.spec.name)

    def _subset_changed(self, name: str) -> None:
        self._count.forget(name)
        self._stale_subsets.add(name)
        self._bound = False

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None:
        names = [self._parameter(n).spec.name for n in names]
        with self._change:
            self.model.reset(names, rng)
            self._network.refresh()
            self.discard()

    def predictor(self, batch: int) -> Callable[[Array], Array]:
        """A function x [B, ...] -> logits float32 [B, classes], in chunks of ``batch``, for any thread; it runs on
        the caller's thread alone and never changes state. ``batch`` is at most the plan's predict_batch. All
        predictors share one arena, which the plan counts. A head that grows meanwhile does not widen the result.
        """
        if batch > self.plan.predict_batch or batch < 1:
            raise BadInput(
                f"A predictor of {batch} samples does not fit the planned {self.plan.predict_batch}.",
                "Plan a larger predict_batch.",
            )

        def predict(x: Array) -> Array:
            graph = self._graph
            x = check_samples(graph, {graph.input: x}, None)
            out = np.empty((len(x), graph.classes), np.float32)
            for i in range(0, len(x), batch):
                with self._change:  # a piece at a time: training waits for no longer
                    self._sync()
                    session, feed = self._predict_session()
                    index, wide = self.plan.program["predict"]["fetch"][self._graph.logits], self._graph.classes
                    found = session.predict(self._network, feed, x[i : i + batch], index, wide)
                out[i : i + batch] = found[:, : graph.classes]
            return out

        return predict

    def changing(self) -> AbstractContextManager[Any]:
        return self._change

    def state(self) -> dict[str, Array]:
        return self.model.state()

    def load(self, state: Mapping[str, Array]) -> None:
        with self._change:
            self.model.load_state(state)
            for name in self._trained:
                self.model[name].prepare_moments(self.plan.optimizer.moments())
            self.gradients.relayout()
            self._samples = None
            self._stale = {n.parameters[0] for n in self._weights}
            self._bound = False
            self._sync()
            self._network.begin_norms()

    # ---- helpers ---------------------------------------------------------------------------------------------
    def _tensor(self, name: str) -> str:
        tensor = self._graph.logits if name == "logits" else name
        if tensor not in self.plan.program["train"]["fetch"]:
            raise BadInput(
                f"'{name}' is not among the tensors this plan fetches.",
                f"Plan with fetch=['{name}']; now: {', '.join(self.plan.program['train']['fetch'])}.",
            )
        return tensor

    def _dropout(self, node_name: str, samples: int) -> Array:
        p = next(n for n in self._graph.nodes if n.name == node_name).attributes["p"]
        keep = draw_mask(self.rng, (samples, *self._graph.shapes[node_name]), p)
        return keep.astype(np.float32) / np.float32(1 - p)


def check_samples(graph: Graph, feeds: Mapping[str, Array], batch: int | None) -> Array:
    """The fed input as a contiguous array [B, ...] of the graph's shape and dtype; raises `BadInput`."""
    if set(feeds) != {graph.input}:
        raise BadInput(f"Feeds {sorted(feeds)} do not match the graph.", f"Feed exactly '{graph.input}'.")
    x = np.asarray(feeds[graph.input])
    if x.ndim != 1 + len(graph.input_shape) or x.shape[1:] != tuple(graph.input_shape):
        raise BadInput(
            f"Samples of shape {x.shape[1:]} do not fit '{graph.name}', which takes {tuple(graph.input_shape)}.",
            "Build the model for this stream.",
        )
    if x.dtype != np.dtype(graph.input_dtype):
        raise BadInput(f"Samples are {x.dtype}, the model takes {graph.input_dtype}.", "Convert the samples.")
    if len(x) == 0 and batch is not None:
        raise BadInput("The batch is empty.", "Feed at least one sample.")
    if batch is not None and len(x) > batch:
        raise BadInput(f"A batch of {len(x)} exceeds the planned {batch}.", "Plan a larger batch.")
    return np.ascontiguousarray(x)
