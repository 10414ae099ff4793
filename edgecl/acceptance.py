"""accept: the trial of an imported network. It predicts what it came from predicts, and it can learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .compiler import Optimizer, compile_plan
from .engine.model import Model
from .engine.native import NativeEngine
from .errors import BadInput, EdgeclError
from .network import Network

Array = np.ndarray
Reference = tuple[str, Callable[[Array], Array]]
ROWS = 3
ABSOLUTE, RELATIVE = 1e-4, 1e-3  # largest difference, absolute or of the largest output
REMEDY = "Report this network, with the file or the module."


@dataclass(frozen=True)
class Accepted:
    """What a trial showed.

    runtime : what its predictions were compared with, or ``none``;  max_abs : the largest difference
    loss : half the mean square of the outputs on random samples before the step
    bytes : of a training plan for a batch of 3, parameters and arenas
    """

    runtime: str
    max_abs: float
    loss: float
    bytes: int


def accept(network: Network, whole: Network, reference: Reference | None) -> Accepted:
    """Predict with ``whole`` and compare with ``reference``; train ``network`` for one step.

    whole : the network with its own head;  reference : its name and what it makes of normalised samples
    Raises `EdgeclError` where a prediction depends on the batch or differs, or where nothing can be learned.
    """
    x = samples(network, ROWS)
    worst = 0.0
    if reference is not None:
        worst = compared(whole, x, reference)
    engine = engine_of(network)
    few = engine.forward({network.graph.input: x[: ROWS - 1]}, training=False)["logits"]
    more = engine.forward({network.graph.input: x}, training=False)["logits"]
    if not _near(more[: ROWS - 1], few):
        raise EdgeclError(f"Predictions of '{network.graph.name}' depend on the rest of their batch.", REMEDY)
    loss = _step(engine, x)
    return Accepted(reference[0] if reference else "none", worst, loss, int(sum(engine.plan.memory.values())))


def samples(network: Network, rows: int) -> Array:
    """Random raw samples [rows, ...] such as the network's normalisation expects."""
    graph, rng = network.graph, np.random.default_rng(0)
    shape = (rows, *graph.input_shape)
    if graph.input_dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    mean, std = (np.asarray(graph.nodes[0].attributes[k], np.float64) for k in ("mean", "std"))
    column = (-1,) + (1,) * (len(shape) - 2)
    return (rng.normal(size=shape) * std.reshape(column) + mean.reshape(column)).astype(np.float32)


def engine_of(network: Network, rows: int = ROWS) -> NativeEngine:
    """A native engine that holds the network's weights."""
    model = Model(network.graph, np.random.default_rng(0))
    for name, values in network.weights.items():
        model[name].values[:] = values.ravel()
    return NativeEngine(model, compile_plan(network.graph, batch=rows, optimizer=Optimizer()))


def compared(whole: Network, x: Array, reference: Reference) -> float:
    """The largest difference between predictions and the reference's. Raises `EdgeclError` where it is too large."""
    name, predict = reference
    attributes = whole.graph.nodes[0].attributes
    column = (-1,) + (1,) * (x.ndim - 2)
    mean, std = (np.asarray(attributes[k], np.float32).reshape(column) for k in ("mean", "std"))
    expected = np.asarray(predict((x.astype(np.float32) - mean) / std))
    found = engine_of(whole).forward({whole.graph.input: x}, training=False)["logits"]
    if found.size != expected.size:
        raise EdgeclError(f"It predicts {found.shape}, {name} {expected.shape}.", REMEDY)
    expected = expected.reshape(found.shape)
    if not _near(found, expected):
        off = float(np.abs(found - expected).max(initial=0))
        raise EdgeclError(f"Its predictions differ from those of {name} by {off:.2g}.", REMEDY)
    return float(np.abs(found - expected).max(initial=0))


def _step(engine: NativeEngine, x: Array) -> float:
    """One step down the mean square of the outputs; what it was before. Raises `BadInput` where nothing moves."""
    graph = engine.plan.graph
    logits = engine.forward({graph.input: x})["logits"]
    loss = float(np.mean(np.square(logits, dtype=np.float64)) / 2)
    trained = [n for n, p in graph.parameters.items() if p.trained]
    if not np.isfinite(loss):
        raise EdgeclError(f"On random samples '{graph.name}' gives values that are not finite.", REMEDY)
    if not trained:
        raise BadInput(f"Nothing of '{graph.name}' can learn.", "Give it a head with --classes, or freeze less of it.")
    before = {n: engine.model[n].values.copy() for n in graph.parameters}
    engine.backward({"logits": np.ascontiguousarray(logits + 1, np.float32) / logits.size})
    engine.step(1e-3)
    values = {n: engine.model[n].values for n in graph.parameters}
    if not all(np.isfinite(v).all() for v in values.values()):
        raise EdgeclError(f"A training step makes weights of '{graph.name}' that are not finite.", REMEDY)
    if all(np.array_equal(values[n], before[n]) for n in trained):
        raise BadInput(f"A training step changes no weight of '{graph.name}'.", "Freeze less of it.")
    still = [n for n, p in graph.parameters.items() if p.frozen]
    if any(not np.array_equal(values[n], before[n]) for n in still):
        raise EdgeclError(f"A training step changes frozen weights of '{graph.name}'.", REMEDY)
    return loss


def _near(found: Array, expected: Array) -> bool:
    largest = float(np.abs(expected).max(initial=0))
    return bool(np.abs(found - expected).max(initial=0) <= max(ABSOLUTE, RELATIVE * largest))
